#include "model/adaptive_update.h"

#include <algorithm>
#include <cmath>

#include "model/kernels.h"

namespace factord {
namespace {

constexpr float kInnerRange = 4;

// Start of confidence, variances of biases and tastes.
constexpr float kConfidence = 0.25f;
constexpr float kUserBiasVariance = 0.5f;
constexpr float kItemBiasVariance = 0.3f;
constexpr float kQualityVariance = 0.3f;
constexpr float kPopularityVariance = 0.02f;
// The variance of the taste for quality falls this much slower than the bias's.
constexpr float kQualityDecline = 0.15f;
// Floor of a user's bias variance where a step is made from it: lets the mean drift.
constexpr float kDrift = 0.02f;
// Variance of a rating's noise; it grows with the error beyond one inner unit, which cuts the step.
constexpr float kNoise = 0.8f;
// Confidence falls with what was learned, at most by half, and not below these.
constexpr float kConfidenceDecline = 2;
constexpr float kMaxDecline = 0.5f;
constexpr float kUserConfidenceFloor = 0.03f;
constexpr float kItemConfidenceFloor = 0.005f;
// Errors and tastes of the globals, and their limits.
constexpr float kTasteStep = 0.0005f;
constexpr float kMood = 0.15f;
constexpr float kMaxMoodError = 2;
constexpr float kMaxPopularity = 2;
constexpr float kPopularitySpread = 0.8f;
constexpr int64_t kEventsBetweenRenewals = 16;
// The mean of all ratings forgets beyond so many.
constexpr int64_t kMeanMemory = 100'000;
// Revisits.
constexpr float kRevisitBiasRidge = 2;
constexpr float kRevisitPopularityRidge = 20;
struct RevisitRule {
  float factor_ridge;
  float attraction;  // times an event's
};
RevisitRule RevisitRuleOf(const ModelConfig& config) {
  return config.update_version == 1 ? RevisitRule{7, 1} : RevisitRule{8, 2};
}

float InnerUnits(const ModelConfig& config) {
  return kInnerRange / (config.max_rating - config.min_rating);
}

// All that an event's step depends on.
struct Terms {
  PairProducts products;
  float popularity;
  float quality_weight;       // C + c_u
  float without_mood;         // the prediction
  float user_variance;        // of the bias, as it counts
  float quality_variance;     // of c_u
  float popularity_variance;  // of k_u
};

Terms ComputeTerms(const ModelGlobals& globals, const RowState& user, const RowState& item,
                   const PairProducts& products) {
  Terms terms;
  terms.products = products;
  terms.popularity = Popularity(globals, item);
  terms.quality_weight = globals.quality_base + user.quality_taste;
  terms.without_mood = globals.mean + user.bias + terms.quality_weight * item.bias +
                       (globals.popularity_base + user.popularity_taste) * terms.popularity +
                       products.pq;
  // Both variances follow from the bias's, which says how much is known of the user.
  const float known = 1 - user.bias_variance * (1 / kUserBiasVariance);
  terms.user_variance = user.bias_variance;
  terms.quality_variance = kQualityVariance * user.bias_variance /
                           (user.bias_variance + kQualityVariance * kQualityDecline * known);
  terms.popularity_variance =
      kPopularityVariance * user.bias_variance / (user.bias_variance + kPopularityVariance * known);
  return terms;
}

// The prediction, in rating units.
float RatingOf(const ModelConfig& config, const ModelGlobals& globals, const Terms& terms,
               float mood) {
  if (globals.events == 0) return config.initial_rating;  // nothing is known yet
  return config.min_rating + (terms.without_mood + mood) * (1 / InnerUnits(config));
}

// The variance of the error: what each part is unsure of, and the noise.
float ErrorVariance(const Terms& terms, const RowState& user, const RowState& item, float error) {
  const float quality = terms.quality_weight * terms.quality_weight;
  return user.confidence * terms.products.qq + item.confidence * terms.products.pp +
         terms.user_variance + item.bias_variance * quality +
         terms.quality_variance * item.bias * item.bias +
         terms.popularity_variance * terms.popularity * terms.popularity +
         kNoise * std::max(1.0f, std::fabs(error));
}

// To rate at all says something: rows that met are drawn to each other while their product is
// small.
float Attraction(const ModelConfig& config, float product) {
  return config.attraction * std::clamp(1 - product, 0.0f, 2.0f);
}

void MoveTastes(const ModelGlobals& globals, const Terms& terms, float item_bias, float step,
                RowState* user) {
  // Coordinates as well, so not negative.
  user->quality_taste = std::max(user->quality_taste + step * terms.quality_variance * item_bias,
                                 -globals.quality_base);
  user->popularity_taste =
      std::max(user->popularity_taste + step * terms.popularity_variance * terms.popularity, -1.0f);
}

float Declined(float confidence, float learned, float floor) {
  return std::max(confidence - confidence * std::min(learned, kMaxDecline), floor);
}

// `step` and `error` of the user's side, `rarity` of the item before the event.
void UpdateGlobals(const Terms& terms, float step, float error, float rarity, float gain,
                   float item_bias, RowState* user, ModelGlobals* globals) {
  globals->quality_mean += kTasteStep * step * item_bias;
  globals->popularity_mean += kTasteStep * step * terms.popularity;
  const float rarity_gain = std::max(gain, 0.001f);
  const float deviation = rarity - globals->rarity_mean;
  globals->rarity_mean += rarity_gain * deviation;
  globals->rarity_deviation += rarity_gain * (std::fabs(deviation) - globals->rarity_deviation);

  const float mood_gain = std::min(gain, 0.01f);
  const float cut = std::clamp(error, -kMaxMoodError, kMaxMoodError);
  globals->mood_covariance += mood_gain * (cut * user->mood - globals->mood_covariance);
  globals->mood_variance += mood_gain * (user->mood * user->mood - globals->mood_variance);
  user->mood += kMood * (cut - user->mood);

  if (globals->events % kEventsBetweenRenewals != 0) return;
  globals->quality_mean = std::clamp(globals->quality_mean, 0.5f, 2.0f);
  globals->popularity_mean = std::clamp(globals->popularity_mean, -0.5f, 0.5f);
  globals->quality_base = globals->quality_mean;
  globals->popularity_base = globals->popularity_mean;
  globals->rarity_base = globals->rarity_mean;
  globals->rarity_scale = kPopularitySpread / std::max(globals->rarity_deviation, 0.01f);
  globals->mood_weight =
      std::clamp(globals->mood_covariance / (globals->mood_variance + 10 * mood_gain), 0.0f, 1.0f);
}

}  // namespace

RowState AdaptiveStart(int side) {
  RowState state;
  state.confidence = kConfidence;
  state.bias_variance = side == 0 ? kUserBiasVariance : kItemBiasVariance;
  if (side == 1) state.rarity = RarityOf(kItemBiasVariance);
  return state;
}

float BiasInRatingUnits(const ModelConfig& config, const RowState& state) {
  return state.bias * (1 / InnerUnits(config));
}

float RarityOf(float bias_variance) { return std::sqrt(std::sqrt(std::sqrt(bias_variance))); }

float Popularity(const ModelGlobals& globals, const RowState& item) {
  return std::clamp((globals.rarity_base - item.rarity) * globals.rarity_scale, -kMaxPopularity,
                    kMaxPopularity);
}

float AdaptivePrediction(const ModelConfig& config, const ModelGlobals& globals,
                         const ConstPairOfRows& rows) {
  const PairProducts products = {ActiveKernels().dot(rows.p, rows.q, rows.stride), 0, 0};
  const Terms terms = ComputeTerms(globals, *rows.user, *rows.item, products);
  return RatingOf(config, globals, terms, globals.mood_weight * rows.user->mood);
}

UpdateOutcome AdaptiveUpdate(const ModelConfig& config, float rating, ModelGlobals* globals,
                             const PairOfRows& rows) {
  const Kernels& kernels = ActiveKernels();
  RowState& user = *rows.user;
  RowState& item = *rows.item;
  const float inner_rating = (rating - config.min_rating) * InnerUnits(config);
  Terms terms = ComputeTerms(*globals, user, item, kernels.products(rows.p, rows.q, rows.stride));
  const float mood = globals->mood_weight * user.mood;
  UpdateOutcome outcome;
  outcome.prediction = RatingOf(config, *globals, terms, mood);

  // The mean learns first: until there are some, it is all that is known.
  ++globals->events;
  const float gain = 1 / static_cast<float>(std::min(globals->events, kMeanMemory));
  const float mean_change = gain * (inner_rating - globals->mean);
  globals->mean += mean_change;
  terms.user_variance = std::max(terms.user_variance, kDrift);
  const float error_without_mood = inner_rating - (terms.without_mood + mean_change);
  const float error = error_without_mood - mood;
  const float inverse = 1 / ErrorVariance(terms, user, item, error);
  const float step = error * inverse;
  const float item_step = error_without_mood * inverse;  // the item cannot help the user's mood
  const float attraction = Attraction(config, terms.products.pq) * inverse;

  kernels.step(rows.p, rows.q,
               {.add_p = (step + attraction) * user.confidence,
                .add_q = (item_step + attraction) * item.confidence,
                .floor = -config.offset},
               rows.stride);
  const float decline = kConfidenceDecline * inverse / static_cast<float>(config.rank);
  user.confidence = Declined(user.confidence, user.confidence * terms.products.qq * decline,
                             kUserConfidenceFloor);
  item.confidence = Declined(item.confidence, item.confidence * terms.products.pp * decline,
                             kItemConfidenceFloor);
  const float item_bias = item.bias, rarity = item.rarity;
  user.bias += step * terms.user_variance;
  item.bias += item_step * item.bias_variance * terms.quality_weight;
  user.bias_variance -= user.bias_variance * user.bias_variance * inverse;
  item.bias_variance -= item.bias_variance * item.bias_variance * inverse * terms.quality_weight *
                        terms.quality_weight;
  item.rarity = RarityOf(item.bias_variance);
  MoveTastes(*globals, terms, item_bias, step, &user);
  UpdateGlobals(terms, step, error_without_mood, rarity, gain, item_bias, &user, globals);

  outcome.clipped = std::fabs(error) > 1;
  return outcome;
}

void AdaptiveRevisit(const ModelConfig& config, float rating, float size,
                     const ModelGlobals& globals, const PairOfRows& rows) {
  const Kernels& kernels = ActiveKernels();
  RowState& user = *rows.user;
  RowState& item = *rows.item;
  const float inner_rating = (rating - config.min_rating) * InnerUnits(config);
  const Terms terms =
      ComputeTerms(globals, user, item, kernels.products(rows.p, rows.q, rows.stride));
  const float error = inner_rating - terms.without_mood;
  const float inverse = 1 / ErrorVariance(terms, user, item, error);
  const float step = error * inverse * size;
  const RevisitRule rule = RevisitRuleOf(config);
  const float attraction = rule.attraction * Attraction(config, terms.products.pq) * inverse * size;

  const float ridge = size * rule.factor_ridge;
  kernels.step(rows.p, rows.q,
               {.add_p = (step + attraction) * user.confidence,
                .add_q = (step + attraction) * item.confidence,
                .floor = -config.offset,
                .keep_p = 1 - ridge * user.confidence * user.bias_variance,
                .keep_q = 1 - ridge * item.confidence * item.bias_variance},
               rows.stride);
  const float bias_ridge = size * kRevisitBiasRidge;
  const float item_bias = item.bias;
  user.bias +=
      step * user.bias_variance - bias_ridge * user.bias_variance * user.bias_variance * user.bias;
  item.bias += step * item.bias_variance * terms.quality_weight -
               bias_ridge * item.bias_variance * item.bias_variance * item.bias;
  user.quality_taste -=
      bias_ridge * user.bias_variance * terms.quality_variance * user.quality_taste;
  user.popularity_taste -= size * kRevisitPopularityRidge * user.bias_variance *
                           terms.popularity_variance * user.popularity_taste;
  MoveTastes(globals, terms, item_bias, step, &user);
}

}  // namespace factord
