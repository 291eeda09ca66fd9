// Rates an item and asks for recommendations, with nothing but the installed package.
#include <cstdio>

#include "client/client.h"

int main(int, char** argv) {
  auto client = factord::Client::Create({.target = argv[1]});
  factord::v1::RecordRatingsRequest rating;
  factord::v1::Rating* const event = rating.add_events();
  event->set_user_id("ann");
  event->set_item_id("casablanca");
  event->set_rating(4.5);
  const auto recorded = (*client)->RecordRatings(rating);
  factord::v1::RecommendItemsRequest query;
  query.set_user_id("bob");
  const auto answer = (*client)->RecommendItems(query);
  if (!recorded.ok() || !answer.ok() || answer->items_size() != 1) return 1;
  std::printf("sequence %lld, first for bob: %s\n",
              static_cast<long long>(recorded->last_sequence()),
              answer->items(0).item_id().c_str());
}
