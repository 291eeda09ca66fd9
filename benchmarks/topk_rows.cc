#include <omp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmarks/event_list.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "benchmarks/trained_model.h"
#include "engine/model_state.h"
#include "faiss/IndexFlat.h"
#include "hnswlib/hnswlib.h"
#include "model/kernels.h"
#include "model/mix.h"
#include "model/top_k.h"

namespace factord {
namespace {

constexpr size_t kTop = 10;

// Item rows one after the other, with the bias as one more coordinate, whose partner is 1: what
// others search. `dimensions` of them are used.
struct Matrix {
  size_t rows = 0;
  size_t stride = 0;  // of our kernels
  std::vector<float> scored;
  std::vector<float> biases;
  size_t dimensions = 0;
  std::vector<float> with_bias;
};

Matrix Copy(const ItemView& view, size_t rank) {
  Matrix matrix;
  matrix.rows = view.size();
  matrix.stride = view.stride();
  matrix.dimensions = rank + 1;
  matrix.scored.resize(matrix.rows * matrix.stride);
  matrix.with_bias.resize(matrix.rows * matrix.dimensions);
  for (uint32_t i = 0; i < view.size(); ++i) {
    std::copy_n(view.ranking(i), matrix.stride, &matrix.scored[i * matrix.stride]);
    std::copy_n(view.ranking(i), rank, &matrix.with_bias[i * matrix.dimensions]);
    matrix.biases.push_back(view.ranking_bias(i));
    matrix.with_bias[i * matrix.dimensions + rank] = matrix.biases.back();
  }
  return matrix;
}

// Milliseconds a query, the best of three rounds over all queries.
double Milliseconds(size_t queries, const std::function<void(size_t)>& query) {
  double best = std::numeric_limits<double>::max();
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    for (size_t q = 0; q < queries; ++q) query(q);
    best = std::min(best, Seconds(start));
  }
  return 1e3 * best / static_cast<double>(queries);
}

// One pass over all of the matrix, whatever comes out.
double ScanMilliseconds(const Matrix& matrix, const std::vector<Question>& questions) {
  const Kernels& kernels = ActiveKernels();
  volatile float kept = 0;
  return Milliseconds(std::min<size_t>(questions.size(), 20), [&](size_t q) {
    constexpr size_t kRows = 256;
    float best = std::numeric_limits<float>::lowest();
    float scores[kRows];
    const float* places[kRows];
    for (size_t first = 0; first < matrix.rows; first += kRows) {
      const size_t rows = std::min(kRows, matrix.rows - first);
      for (size_t r = 0; r < rows; ++r) places[r] = &matrix.scored[(first + r) * matrix.stride];
      kernels.score_rows(places, rows, questions[q].query.data(), matrix.stride, scores);
      for (size_t r = 0; r < rows; ++r) best = std::max(best, scores[r] + matrix.biases[first + r]);
    }
    kept = best;
  });
}

std::vector<float> WithBias(const std::vector<float>& query, size_t rank) {
  std::vector<float> extended(query.begin(), query.begin() + static_cast<ptrdiff_t>(rank));
  extended.push_back(1);
  return extended;
}

double FaissMilliseconds(const Matrix& matrix, const std::vector<Question>& questions,
                         size_t rank) {
  omp_set_num_threads(1);
  faiss::IndexFlatIP index(static_cast<faiss::Index::idx_t>(matrix.dimensions));
  index.add(static_cast<faiss::Index::idx_t>(matrix.rows), matrix.with_bias.data());
  return Milliseconds(std::min<size_t>(questions.size(), 20), [&](size_t q) {
    const std::vector<float> query = WithBias(questions[q].query, rank);
    float distances[kTop];
    faiss::Index::idx_t labels[kTop];
    index.search(1, query.data(), kTop, distances, labels);
  });
}

// An index of hnswlib, built by all cores.
std::unique_ptr<hnswlib::HierarchicalNSW<float>> BuildHnsw(const Matrix& matrix,
                                                           hnswlib::InnerProductSpace* space) {
  constexpr size_t kLinks = 16, kCandidates = 200;  // M, efConstruction: its defaults
  auto index =
      std::make_unique<hnswlib::HierarchicalNSW<float>>(space, matrix.rows, kLinks, kCandidates);
  index->addPoint(matrix.with_bias.data(), 0);
  std::vector<std::thread> threads;
  const size_t count = std::max(1u, std::thread::hardware_concurrency());
  for (size_t t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 1 + t; i < matrix.rows; i += count) {
        index->addPoint(&matrix.with_bias[i * matrix.dimensions], i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return index;
}

struct HnswResult {
  double recall = 0;
  double milliseconds = std::numeric_limits<double>::max();
};

// hnswlib with the smallest ef of a doubling row at which all queries find ten as good as the best
// ten, `tenth` being the score of the last of them.
HnswResult SearchHnsw(const Matrix& matrix, const std::vector<Question>& questions, size_t rank,
                      const std::vector<float>& tenth) {
  const Kernels& kernels = ActiveKernels();
  hnswlib::InnerProductSpace space(matrix.dimensions);
  const auto index = BuildHnsw(matrix, &space);
  const auto search = [&](size_t q) {
    return index->searchKnn(WithBias(questions[q].query, rank).data(), kTop);
  };
  HnswResult reached;
  constexpr size_t kMostEf = 32'768;
  for (size_t ef = 16; reached.recall < 1 && ef <= kMostEf; ef *= 2) {
    index->setEf(ef);
    size_t found = 0;
    for (size_t q = 0; q < questions.size(); ++q) {
      for (auto answers = search(q); !answers.empty(); answers.pop()) {
        const size_t item = answers.top().second;
        const float score = kernels.dot(&matrix.scored[item * matrix.stride],
                                        questions[q].query.data(), matrix.stride) +
                            matrix.biases[item];
        found += score >= tenth[q] ? 1 : 0;
      }
    }
    reached.recall = static_cast<double>(found) / static_cast<double>(kTop * questions.size());
  }
  reached.milliseconds = Milliseconds(questions.size(), search);
  return reached;
}

// Milliseconds a query of ours, each on the newest view.
double SearchMilliseconds(const ModelState& state, absl::Span<const Question> questions) {
  return Milliseconds(questions.size(), [&](size_t q) {
    TopK(state.items().Pin(), state.item_ids(), questions[q].query.data(), questions[q].rated, kTop,
         {});
  });
}

// What searches take while events are learned on another core, and what they take from those. The
// others cannot be searched while they change; `hnsw`: what hnswlib takes at rest.
void SearchWhileLearning(const RatingShape& shape, const BenchOptions& options,
                         const std::vector<Question>& questions, double hnsw, ModelState* state,
                         std::vector<Measurement>* results) {
  const auto alone_time = std::chrono::milliseconds(options.smoke ? 200 : 5'000);
  const Learner learner(shape, options.seed + 1, state);
  const auto rate_until = [&](const std::function<void()>& end) {
    const auto start = Clock::now();
    const uint64_t before = learner.learned();
    end();
    return static_cast<double>(learner.learned() - before) / Seconds(start);
  };
  const double alone = rate_until([&] { std::this_thread::sleep_for(alone_time); });
  double search = 0;
  const double beside = rate_until([&] { search = SearchMilliseconds(*state, questions); });
  results->push_back({.name = "topk-1m/while-learning",
                      .value = search,
                      .unit = "ms",
                      .reference = "hnswlib, which rests",
                      .reference_value = hnsw,
                      .at_most = 1});
  results->push_back({.name = "topk-1m/learning-beside",
                      .value = beside,
                      .unit = "events/s",
                      .reference = "without searches",
                      .reference_value = alone});
}

}  // namespace

absl::Status BenchTopK(const BenchOptions& options, std::vector<Measurement>* results) {
  RatingShape shape =
      Scaled(MovieLens10M(), options.smoke ? 2'000 : 500'000, options.smoke ? 10'000 : 1'000'000);
  shape.ratings = options.smoke ? 20'000 : 20'000'000;
  ModelState state(BenchConfig());
  const auto rank = static_cast<size_t>(state.config().rank);
  Train(shape, options.seed, &state);
  const Matrix matrix = Copy(state.items().Pin(), rank);
  const std::vector<Question> questions =
      DrawQuestions(state, state.items().Pin(), options.smoke ? 64 : 200);

  // The others leave nothing out: their answers are held against those without exclusions.
  std::vector<float> tenth;
  for (const Question& question : questions) {
    const auto top =
        TopK(state.items().Pin(), state.item_ids(), question.query.data(), {}, kTop, {});
    if (top.size() != kTop) return absl::InternalError("top-k found too few");
    tenth.push_back(top.back().score);
  }
  const double ours = SearchMilliseconds(state, questions);
  const double scan = ScanMilliseconds(matrix, questions);
  // 64 users who come together; each is searched for alone.
  constexpr size_t kUsers = 64;
  results->push_back(
      {.name = "topk-batch",
       .value = kUsers * SearchMilliseconds(state, absl::MakeSpan(questions).first(kUsers)),
       .unit = "ms",
       .reference = "64 fp32 scans",
       .reference_value = kUsers * scan,
       .at_most = 1.0 / 6});
  const double faiss = FaissMilliseconds(matrix, questions, rank);
  const HnswResult hnsw = SearchHnsw(matrix, questions, rank, tenth);
  results->push_back({.name = "topk-1m",
                      .value = ours,
                      .unit = "ms",
                      .reference = "fp32 scan",
                      .reference_value = scan,
                      .at_most = 1.0 / 20});
  results->push_back({.name = "topk-1m/faiss",
                      .value = ours,
                      .unit = "ms",
                      .reference = "IndexFlatIP",
                      .reference_value = faiss,
                      .at_most = 1.0 / 8});
  results->push_back({.name = "topk-1m/hnswlib",
                      .value = ours,
                      .unit = "ms",
                      .reference = absl::StrCat("hnswlib at recall ", hnsw.recall),
                      .reference_value = hnsw.milliseconds,
                      .at_most = 1});
  SearchWhileLearning(shape, options, questions, hnsw.milliseconds, &state, results);
  return absl::OkStatus();
}

absl::Status BenchTopKUniform(const BenchOptions& options, std::vector<Measurement>* results) {
  const uint32_t rows = options.smoke ? 10'000 : 1'000'000;
  constexpr size_t kRank = 64;
  ItemMatrix items(kRank, /*has_ranking=*/true);
  IdMap ids;
  const auto uniform = [&](uint64_t n) { return UnitFloat(Mix64(options.seed + n)) - 0.5f; };
  for (uint32_t i = 0; i < rows; ++i) {
    ids.Add(ItemId(i));
    items.Add();
    float* const ranking = items.MutableRanking(i);
    for (size_t k = 0; k < kRank; ++k) ranking[k] = uniform(i * kRank + k);
  }
  items.Publish(1);
  const ItemView view = items.Pin();
  std::vector<Question> questions(20, {std::vector<float>(kRank), {}});
  for (size_t q = 0; q < questions.size(); ++q) {
    for (size_t k = 0; k < kRank; ++k) questions[q].query[k] = uniform(~(q * kRank + k));
  }
  const double ours = Milliseconds(questions.size(), [&](size_t q) {
    TopK(view, ids, questions[q].query.data(), {}, kTop, {});
  });
  results->push_back({.name = "topk-1m-uniform",
                      .value = ours,
                      .unit = "ms",
                      .reference = "fp32 scan",
                      .reference_value = ScanMilliseconds(Copy(view, kRank), questions)});
  return absl::OkStatus();
}

}  // namespace factord
