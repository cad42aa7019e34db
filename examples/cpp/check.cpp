// Compares gliomart.hpp and shading.hpp with the reference vector:
// g++ -std=c++17 check.cpp -o check && ./check ../reference.txt
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "example.hpp"
#include "shading.hpp"

using Row = std::vector<double>;
using Rows = std::map<std::string, std::vector<Row>>;

static Rows read(const char* path) {
  Rows rows;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("the reference vector cannot be read");
  for (std::string line, name; std::getline(file, line);) {
    std::istringstream words(line);
    if (!(words >> name) || name[0] == '#') continue;
    Row row;
    for (double value; words >> value;) row.push_back(value);
    rows[name].push_back(row);
  }
  return rows;
}

static int failures = 0;

static void expect(const char* what, double found, double wanted, double tolerance) {
  if (std::abs(found - wanted) <= tolerance) return;
  std::printf("%s: %.7g where %.7g was expected\n", what, found, wanted);
  ++failures;
}

static gliomart::Box to_box(const Row& row) {
  return {int(row[0]), int(row[1]), int(row[2]), int(row[3])};
}

static void expect_norm(const gliomart::Normalisation& norm, const Row& box, const Row& levels) {
  expect("box x", norm.box.x, box[0], 0);
  expect("box y", norm.box.y, box[1], 0);
  expect("box width", norm.box.width, box[2], 0);
  expect("box height", norm.box.height, box[3], 0);
  expect("black", norm.black, levels[0], 1e-3);
  expect("brain", norm.brain, levels[1], 1e-3);
}

// What is lit unevenly: an image, a series, or one whose slices disagree.
static void check_light(const Rows& rows, const std::string& name) {
  const auto one = [&](const char* what) { return rows.at(what).at(0); };
  const auto of_name = [&](const char* what) -> const auto& { return rows.at(name + what); };
  const auto slice = [&](int number) {
    const auto image =
        gliomart::lit(int(one("image")[0]), int(one("image")[1]), number, name == "uneven");
    return name == "windowed" ? gliomart::windowed(image) : image;
  };
  const Row sides = one("shading"), limits = one("shading_limits");
  const gliomart::Shading rules{int(sides[0]), int(sides[1]), int(sides[2]),
                                limits[0],     limits[1],     limits[2]};
  std::vector<int> numbers;
  std::vector<gliomart::Image> slices;
  for (const double number : of_name("_numbers")[0]) {
    numbers.push_back(int(number));
    slices.push_back(slice(int(number)));
  }
  for (const Row& row : of_name("_pixel"))
    expect("pixel", slice(int(row[0])).at(row[1], row[2]), row[3], 0);
  const auto norm = gliomart::estimate_normalisation(slices, one("spacing")[0], one("spacing")[1],
                                                     one("margin")[0]);
  expect_norm(norm, of_name("_box")[0], of_name("_levels")[0]);
  const double brain_level = one("brain_level")[0];
  const auto field =
      gliomart::estimate_field(slices, numbers, norm, brain_level, one("head")[0], rules);
  for (const Row& row : of_name("_field"))
    expect("field", gliomart::at(*field, int(row[0])).log.at(row[1], row[2]), row[3], 1e-5);
  for (const Row& row : of_name("_input")) {
    const int number = int(row[0]), size = int(one("size")[0]);
    const auto input = gliomart::prepared(slice(number), norm, gliomart::at(*field, number), size,
                                          brain_level);
    expect("input in even light", input.at(row[1], row[2]), row[3], 1e-5);
  }
}

// Scores of slices in a series, with neighbours' maps: below, mirrored; above, turned over.
static void check_neighbours(const Rows& rows, const gliomart::Image& map, double top_fraction) {
  gliomart::Image below = map, above = map;
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x) {
      below.at(y, x) = map.at(y, map.width - 1 - x);
      above.at(y, x) = map.at(map.height - 1 - y, x) / 2;
    }
  const Row weights = rows.at("neighbours").at(0);
  const std::vector<const gliomart::Image*> beside[] = {
      {&below, &map, &above}, {nullptr, &map, &above}, {&below, &map, nullptr}};
  for (int i = 0; i < 3; ++i) {
    const gliomart::Image averaged = gliomart::averaged(beside[i], weights);
    expect("series_slice", gliomart::slice_score(averaged, top_fraction),
           rows.at("series_slice").at(i)[0], 1e-6);
  }
}

int main(int, char** arguments) {
  const auto rows = read(arguments[1]);
  const auto one = [&](const char* name) { return rows.at(name).at(0); };
  const int size = int(one("size")[0]);
  const double brain_level = one("brain_level")[0];

  const Row shape = one("image"), spacing = one("spacing");
  const gliomart::Image image = gliomart::synthetic(int(shape[0]), int(shape[1]));
  for (const Row& row : rows.at("pixel")) expect("pixel", image.at(row[0], row[1]), row[2], 0);
  const gliomart::Normalisation norm =
      gliomart::estimate_normalisation({image}, spacing[0], spacing[1], one("margin")[0]);
  expect_norm(norm, one("box"), one("levels"));
  const gliomart::Image input = gliomart::prepared(image, norm, size, brain_level);
  for (const Row& row : rows.at("input")) expect("input", input.at(row[0], row[1]), row[2], 1e-5);
  const Row head = one("head");
  expect("head", gliomart::shows_head(input, brain_level, head[0], head[1]), 1, 0);
  const gliomart::Normalisation small{to_box(one("small_box")), norm.black, norm.brain};
  const gliomart::Image enlarged = gliomart::prepared(image, small, size, brain_level);
  for (const Row& row : rows.at("small_input"))
    expect("small_input", enlarged.at(row[0], row[1]), row[2], 1e-5);
  const Row sampled = one("sampled");
  const auto numbers = gliomart::sampled(int(sampled[0]));
  expect("sampled", double(numbers.size()), double(sampled.size() - 1), 0);
  for (std::size_t i = 1; i < sampled.size(); ++i) expect("sampled", numbers[i - 1], sampled[i], 0);
  for (const char* name : {"alone", "series", "uneven", "windowed"}) check_light(rows, name);

  const auto& lines = rows.at("map");
  gliomart::Image map(int(lines.size()), int(lines[0].size()));
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x) map.at(y, x) = float(lines[y][x]);
  const double score = gliomart::slice_score(map, one("top_fraction")[0]);
  expect("score", score, one("score")[0], 1e-6);
  check_neighbours(rows, map, one("top_fraction")[0]);
  expect("p_value", gliomart::p_value(score, one("healthy")), one("p_value")[0], 1e-9);
  const gliomart::Box place = to_box(one("map_box"));
  const gliomart::Image on_source =
      gliomart::to_source(map, place, int(one("map_image")[0]), int(one("map_image")[1]));
  for (const Row& row : rows.at("source"))
    expect("source", on_source.at(row[0], row[1]), row[2], 1e-6);
  const double pixels_per_pixel =
      double(place.width) * place.height / (double(map.width) * map.height);
  const auto regions = gliomart::find_regions(on_source, one("pixel_threshold")[0],
                                              one("minimum_area_px")[0] * pixels_per_pixel);
  expect("regions", double(regions.size()), double(rows.at("region").size()), 0);
  for (std::size_t i = 0; i < std::min(regions.size(), rows.at("region").size()); ++i) {
    const gliomart::Region& r = regions[i];
    const gliomart::Box& b = r.box;
    const double found[] = {double(b.x), double(b.y), double(b.x + b.width),
                            double(b.y + b.height), double(r.area), r.centroid_x, r.centroid_y,
                            r.peak};
    for (int j = 0; j < 8; ++j) expect("region", found[j], rows.at("region")[i][j], 1e-5);
  }
  std::puts(failures ? "differs from the reference" : "agrees with the reference");
  return failures ? 1 : 0;
}
