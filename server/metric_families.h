// Puts numbers into the form in which prometheus-cpp writes them out.
//
//   MetricFamilies metrics;
//   metrics.Gauge("factord_users", "Users of the model.", users);
//   metrics.Counter("factord_events_total", "Events by outcome.", {{{{"outcome", "applied"}}, n},
//   ...}); return std::move(metrics).Take();
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"

namespace factord {

// Thread-compatible.
class MetricFamilies {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  template <typename T>
  struct Labelled {
    Labels labels;
    T value;
  };

  // With one value and no label, or with labelled ones.
  void Gauge(const char* name, const char* help, double value);
  void Gauge(const char* name, const char* help, const std::vector<Labelled<double>>& values);
  void Counter(const char* name, const char* help, double value);
  void Counter(const char* name, const char* help, const std::vector<Labelled<double>>& values);
  void Histogram(const char* name, const char* help, const HistogramSnapshot& value);
  void Histogram(const char* name, const char* help,
                 const std::vector<Labelled<HistogramSnapshot>>& values);

  std::vector<prometheus::MetricFamily> Take() && { return std::move(families_); }

 private:
  prometheus::MetricFamily& Add(const char* name, const char* help, prometheus::MetricType type);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace factord
