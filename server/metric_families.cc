#include "server/metric_families.h"

#include <cstdint>
#include <limits>

namespace factord {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

ClientMetric WithLabels(const MetricFamilies::Labels& labels) {
  ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

ClientMetric::Histogram ToPrometheus(const HistogramSnapshot& snapshot) {
  ClientMetric::Histogram histogram;
  histogram.sample_sum = snapshot.sum;
  histogram.sample_count = static_cast<uint64_t>(snapshot.count);
  int64_t cumulative = 0;
  for (size_t i = 0; i < snapshot.counts.size(); ++i) {
    cumulative += snapshot.counts[i];
    histogram.bucket.push_back(
        {static_cast<uint64_t>(cumulative), i < snapshot.bounds.size()
                                                ? snapshot.bounds[i]
                                                : std::numeric_limits<double>::infinity()});
  }
  return histogram;
}

}  // namespace

prometheus::MetricFamily& MetricFamilies::Add(const char* name, const char* help, MetricType type) {
  prometheus::MetricFamily& family = families_.emplace_back();
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

void MetricFamilies::Gauge(const char* name, const char* help, double value) {
  Gauge(name, help, std::vector<Labelled<double>>{{{}, value}});
}

void MetricFamilies::Gauge(const char* name, const char* help,
                           const std::vector<Labelled<double>>& values) {
  prometheus::MetricFamily& family = Add(name, help, MetricType::Gauge);
  for (const auto& [labels, value] : values) {
    family.metric.push_back(WithLabels(labels));
    family.metric.back().gauge.value = value;
  }
}

void MetricFamilies::Counter(const char* name, const char* help, double value) {
  Counter(name, help, std::vector<Labelled<double>>{{{}, value}});
}

void MetricFamilies::Counter(const char* name, const char* help,
                             const std::vector<Labelled<double>>& values) {
  prometheus::MetricFamily& family = Add(name, help, MetricType::Counter);
  for (const auto& [labels, value] : values) {
    family.metric.push_back(WithLabels(labels));
    family.metric.back().counter.value = value;
  }
}

void MetricFamilies::Histogram(const char* name, const char* help, const HistogramSnapshot& value) {
  Histogram(name, help, std::vector<Labelled<HistogramSnapshot>>{{{}, value}});
}

void MetricFamilies::Histogram(const char* name, const char* help,
                               const std::vector<Labelled<HistogramSnapshot>>& values) {
  prometheus::MetricFamily& family = Add(name, help, MetricType::Histogram);
  for (const auto& [labels, value] : values) {
    family.metric.push_back(WithLabels(labels));
    family.metric.back().histogram = ToPrometheus(value);
  }
}

}  // namespace factord
