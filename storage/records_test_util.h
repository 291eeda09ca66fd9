// For the test and the fuzz target of records.
#pragma once

#include "storage/records.h"

namespace factord {

inline RowRef Borrow(const Row& row) {
  return {.index = row.index,
          .id = row.id,
          .count = row.count,
          .bias = row.bias,
          .bias_variance = row.bias_variance,
          .confidence = row.confidence,
          .mood = row.mood,
          .quality_taste = row.quality_taste,
          .popularity_taste = row.popularity_taste,
          .factors = row.factors,
          .auxiliary = row.auxiliary,
          .history_items = row.history_items,
          .history_ratings = row.history_ratings};
}

}  // namespace factord
