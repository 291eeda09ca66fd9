#include "evaluation/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace factord {
namespace {

constexpr double kWidth = 640, kHeight = 400;
constexpr double kLeft = 70, kRight = 170, kTop = 40, kBottom = 50;
constexpr std::array<const char*, 8> kColours = {"#1b6ca8", "#c8443c", "#3c8d40", "#8e5bb5",
                                                 "#b8860b", "#2aa198", "#d16ba5", "#555555"};

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// Maps values to pixels, and knows where ticks lie.
class Axis {
 public:
  Axis(double low, double high, bool is_log, double from, double to)
      : is_log_(is_log), low_(Scale(low)), high_(Scale(high)), from_(from), to_(to) {
    // Values that differ in their last digits alone leave no room for ticks.
    const double size = std::max(std::abs(low_), std::abs(high_));
    if (!(high_ - low_ > 1e-6 * size)) {
      const double room = std::max(0.5, 0.1 * size);
      low_ -= room;
      high_ += room;
    }
  }
  double Pixel(double value) const {
    return from_ + (Scale(value) - low_) / (high_ - low_) * (to_ - from_);
  }
  std::vector<double> Ticks() const {
    std::vector<double> ticks;
    if (is_log_) {
      for (double e = std::ceil(low_ - 1e-9); e <= high_ + 1e-9; ++e) {
        ticks.push_back(std::pow(10, e));
      }
      if (ticks.size() >= 2) return ticks;
      return {std::pow(10, low_), std::pow(10, (low_ + high_) / 2), std::pow(10, high_)};
    }
    const double rough = (high_ - low_) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double step = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : 2);
    for (double t = std::ceil(low_ / step) * step; t <= high_ + 1e-9 * step; t += step) {
      ticks.push_back(t);
    }
    return ticks;
  }

 private:
  double Scale(double value) const { return is_log_ ? std::log10(value) : value; }

  const bool is_log_;
  double low_, high_;
  const double from_, to_;
};

}  // namespace

std::string ToSvg(const Plot& plot) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x_low = kInfinity, x_high = -kInfinity, y_low = kInfinity, y_high = -kInfinity;
  const auto is_good = [&plot](const std::pair<double, double>& point) {
    return std::isfinite(point.first) && std::isfinite(point.second) &&
           (!plot.log_x || point.first > 0);
  };
  for (const PlotLine& line : plot.lines) {
    for (const auto& point : line.points) {
      if (!is_good(point)) continue;
      x_low = std::min(x_low, point.first);
      x_high = std::max(x_high, point.first);
      y_low = std::min(y_low, point.second);
      y_high = std::max(y_high, point.second);
    }
  }
  if (x_low > x_high) x_low = x_high = y_low = y_high = 1;
  const Axis x(x_low, x_high, plot.log_x, kLeft, kWidth - kRight);
  const Axis y(y_low, y_high, false, kHeight - kBottom, kTop);

  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
      "<text x=\"%g\" y=\"22\" font-size=\"15\">%s</text>\n",
      kWidth, kHeight, kLeft, Escape(plot.title));
  for (const double tick : x.Ticks()) {
    absl::StrAppendFormat(&svg,
                          "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\" stroke=\"#ddd\"/>\n"
                          "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%.4g</text>\n",
                          x.Pixel(tick), x.Pixel(tick), kTop, kHeight - kBottom, x.Pixel(tick),
                          kHeight - kBottom + 16, tick);
  }
  for (const double tick : y.Ticks()) {
    absl::StrAppendFormat(&svg,
                          "<line x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
                          "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                          kLeft, kWidth - kRight, y.Pixel(tick), y.Pixel(tick), kLeft - 6,
                          y.Pixel(tick) + 4, tick);
  }
  absl::StrAppendFormat(&svg,
                        "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%s</text>\n"
                        "<text transform=\"translate(16 %g) rotate(-90)\" "
                        "text-anchor=\"middle\">%s</text>\n",
                        (kLeft + kWidth - kRight) / 2, kHeight - 12, Escape(plot.x_label),
                        (kTop + kHeight - kBottom) / 2, Escape(plot.y_label));
  for (size_t i = 0; i < plot.lines.size(); ++i) {
    const char* const colour = kColours[i % kColours.size()];
    std::string path, marks;
    for (const auto& point : plot.lines[i].points) {
      if (!is_good(point)) continue;
      const double px = x.Pixel(point.first), py = y.Pixel(point.second);
      absl::StrAppendFormat(&path, "%s%.1f,%.1f", path.empty() ? "" : " ", px, py);
      absl::StrAppendFormat(&marks, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n", px,
                            py, colour);
    }
    const double legend = kTop + 10 + 18 * static_cast<double>(i);
    absl::StrAppendFormat(&svg,
                          "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" "
                          "stroke-width=\"1.5\"/>\n%s"
                          "<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"%s\" "
                          "stroke-width=\"2\"/>\n<text x=\"%g\" y=\"%g\">%s</text>\n",
                          path, colour, marks, kWidth - kRight + 8, kWidth - kRight + 26,
                          legend - 4, legend - 4, colour, kWidth - kRight + 31, legend,
                          Escape(plot.lines[i].name));
  }
  svg += "</svg>\n";
  return svg;
}

}  // namespace factord
