// Line plots as SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace factord {

struct PlotLine {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;
  std::vector<PlotLine> lines;
};

// Points that are not finite are left out, and with log_x those whose x is not positive.
std::string ToSvg(const Plot& plot);

}  // namespace factord
