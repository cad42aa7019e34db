// The worked example of docs/other-languages.md.
#pragma once

#include "gliomart.hpp"

namespace gliomart {

// The synthetic image, 320 rows of 272 columns.
inline Image synthetic(int height, int width) {
  Image image(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const double u = (x - 136) / 100.0, v = (y - 160) / 128.0, r = std::sqrt(u * u + v * v);
      const double squares = (x - 175) * (x - 175) + (y - 195) * (y - 195);
      const double brain = 400 + 40 * std::cos(9 * u) * std::cos(7 * v) +
                           260 * std::exp(-squares / 392);
      const double value = r > 1 ? 0 : r > 0.92 ? 900 : r > 0.86 ? 60 : brain;
      image.at(y, x) = static_cast<float>(std::floor(value + 0.5));
    }
  return image;
}

}  // namespace gliomart
