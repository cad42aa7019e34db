// Prints the normalisation of a series and writes its slices as the model takes them:
// normalisations SLICES COUNT HEIGHT WIDTH ROW_MM COLUMN_MM MARGIN BRAIN_LEVEL PREPARED
#include <cstdio>
#include <fstream>
#include <string>

#include "gliomart.hpp"

int main(int, char** arguments) {
  const auto number = [&](int place) { return std::stod(arguments[place]); };
  std::ifstream slices(arguments[1], std::ios::binary);
  std::vector<gliomart::Image> series;
  for (int i = 0; i < int(number(2)); ++i) {
    series.emplace_back(int(number(3)), int(number(4)));
    auto& pixels = series.back().pixels;
    slices.read(reinterpret_cast<char*>(pixels.data()), std::streamsize(4 * pixels.size()));
  }
  const auto norm = gliomart::estimate_normalisation(series, number(5), number(6), number(7));
  const auto& box = norm.box;
  std::printf("%d %d %d %d %.9g %.9g\n", box.x, box.y, box.width, box.height, norm.black,
              norm.brain);
  std::ofstream prepared(arguments[9], std::ios::binary);
  for (const auto& slice : series) {
    const auto input = gliomart::prepared(slice, norm, 256, number(8));
    prepared.write(reinterpret_cast<const char*>(input.pixels.data()),
                   std::streamsize(4 * input.pixels.size()));
  }
}
