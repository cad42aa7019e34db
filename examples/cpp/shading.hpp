// How unevenly a series is lit: a smooth field of brightness, found and undone before the graph.
//
// Plain C++17 without any library. It is N4 (Tustison et al., IEEE TMI 2010;29:1310) on few pixels;
// docs/other-languages.md says what each step is, and check.cpp compares this file with the Python
// runtime.
#pragma once

#include <array>
#include <complex>
#include <limits>
#include <optional>

#include "gliomart.hpp"

namespace gliomart {

// The card's preprocessing.shading.
struct Shading {
  int side = 32, levels = 3, steps = 20;
  double sharpness = 0.15, limit = 1.2, disagreement = 0.05;
};

// Natural logarithms, side x side, over the model's grid.
struct SliceField {
  Image log;                      // how many times too bright the slice is
  std::optional<Image> expected;  // what it would show in even light, -inf where it is no brain;
                                  // there where the slices of its series disagree in level
  double gain = 0;                // how much brighter the slice is as a whole, where they do
};

struct Field {
  std::vector<int> numbers;  // of the slices it is known for: their places in the series, from 0
  std::vector<SliceField> slices;
};

using Mask = std::vector<std::uint8_t>;
using Matrix = std::vector<std::vector<double>>;  // by rows
using Complex = std::complex<double>;

constexpr double kDarkest = 1e-3;
constexpr std::size_t kLeastShared = 20, kLeastJumps = 4;

inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

// --- N4 -----------------------------------------------------------------------------------------

// Discrete Fourier transform of a power of two of values, with exp(sign * i ...), not scaled.
inline void transform(std::vector<Complex>& values, double sign) {
  const std::size_t half = values.size() / 2;
  if (half == 0) return;
  std::vector<Complex> even(half), odd(half);
  for (std::size_t k = 0; k < half; ++k) even[k] = values[2 * k], odd[k] = values[2 * k + 1];
  transform(even, sign);
  transform(odd, sign);
  for (std::size_t k = 0; k < half; ++k) {
    const Complex turned = std::polar(1.0, sign * std::acos(-1.0) * k / half) * odd[k];
    values[k] = even[k] + turned;
    values[k + half] = even[k] - turned;
  }
}

// Multiply the spectrum of values by a real and even one: real and imaginary part stay apart.
inline std::vector<Complex> filtered(std::vector<Complex> values,
                                     const std::vector<double>& spectrum) {
  transform(values, -1);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] *= spectrum[k] / values.size();
  transform(values, 1);
  return values;
}

// Take each value for what it most likely was before a Gaussian widened the histogram.
inline std::vector<double> sharpened(std::vector<double> values, double fwhm) {
  constexpr int kBins = 200, kLength = 512, kPadding = (kLength - kBins) / 2;
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  const double low = *lowest, step = (*highest - low) / (kBins - 1), pi = std::acos(-1.0);
  if (step <= 0) return values;
  const auto bin = [&](double place) { return std::min(static_cast<int>(place), kBins - 2); };
  std::vector<Complex> histogram(kLength);
  for (const double value : values) {
    const double place = (value - low) / step, part = place - bin(place);
    histogram[kPadding + bin(place)] += 1 - part;
    histogram[kPadding + bin(place) + 1] += part;
  }
  std::vector<double> blur(kLength), wiener(kLength);  // of the Gaussian: its Fourier transform
  for (int k = 0; k < kLength; ++k) {
    const double phase = pi * std::min(k, kLength - k) / kLength * fwhm / step;
    blur[k] = std::exp(-phase * phase / (4 * std::log(2)));
    wiener[k] = blur[k] / (blur[k] * blur[k] + 0.01);
  }
  std::vector<Complex> sharp = filtered(histogram, wiener);
  for (int k = 0; k < kLength; ++k) {
    const double often = std::max(sharp[k].real(), 0.0);
    sharp[k] = {(low + (k - kPadding) * step) * often, often};
  }
  sharp = filtered(sharp, blur);
  const auto expected = [&](int k) {
    const Complex& at = sharp[kPadding + k];
    return at.imag() == 0 ? 0 : at.real() / at.imag();
  };
  for (double& value : values) {
    const double place = (value - low) / step, part = place - bin(place);
    value = expected(bin(place)) * (1 - part) + expected(bin(place) + 1) * part;
  }
  return values;
}

// Cubic B-splines over so many elements, at evenly spaced places from end to end.
inline Matrix splines(int places, int elements) {
  if (places == 1) return {{1}};  // whatever the mesh is, a fit of one place is what it is
  Matrix values(places, std::vector<double>(elements + 3));
  for (int i = 0; i < places; ++i) {
    const double at = double(i) * elements / (places - 1);
    const int first = std::min(static_cast<int>(at), elements - 1);
    const double u = at - first;
    values[i][first] = std::pow(1 - u, 3) / 6;
    values[i][first + 1] = (3 * u * u * u - 6 * u * u + 4) / 6;
    values[i][first + 2] = (-3 * u * u * u + 3 * u * u + 3 * u + 1) / 6;
    values[i][first + 3] = u * u * u / 6;
  }
  return values;
}

inline Matrix to_the_power(Matrix matrix, int exponent) {
  for (auto& row : matrix)
    for (double& value : row) value = std::pow(value, exponent);
  return matrix;
}

inline Matrix transposed(const Matrix& matrix) {
  Matrix result(matrix[0].size(), std::vector<double>(matrix.size()));
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = 0; j < result.size(); ++j) result[j][i] = matrix[i][j];
  return result;
}

// Multiply each of three axes by a matrix (old length, new length).
inline std::vector<double> along_axes(std::vector<double> values,
                                      const std::array<Matrix, 3>& matrices) {
  for (const Matrix& matrix : matrices) {  // the first axis becomes the last, three times
    const std::size_t others = values.size() / matrix.size(), columns = matrix[0].size();
    std::vector<double> product(others * columns);
    for (std::size_t i = 0; i < matrix.size(); ++i)
      for (std::size_t j = 0; j < others; ++j)
        for (std::size_t k = 0; k < columns; ++k)
          product[j * columns + k] += values[i * others + j] * matrix[i][k];
    values = std::move(product);
  }
  return values;
}

// Logarithm of the bias field, up to a constant, of a stack of logarithms in a mask.
inline std::vector<double> n4(const std::vector<double>& log, const Mask& mask, int slices,
                              const Shading& rules) {
  std::vector<double> field(log.size()), weights(log.size()), residual(log.size());
  for (int level = 0; level < rules.levels; ++level) {
    // Splines fitted as to scattered data (Lee et al., IEEE TVCG 1997;3:228).
    std::array<Matrix, 3> squares, cubes, back;
    for (int axis = 0; axis < 3; ++axis) {
      const Matrix basis = splines(axis == 0 ? slices : rules.side, 1 << level);
      squares[axis] = to_the_power(basis, 2);
      cubes[axis] = to_the_power(basis, 3);
      back[axis] = transposed(basis);
    }
    const auto support = along_axes({mask.begin(), mask.end()}, squares);
    const auto sum = [&](int axis, std::size_t place) {
      const auto& row = squares[axis][place];
      return std::accumulate(row.begin(), row.end(), 0.0);
    };
    for (std::size_t i = 0, side = rules.side; i < mask.size(); ++i)
      weights[i] = mask[i] / (sum(0, i / side / side) * sum(1, i / side % side) * sum(2, i % side));
    for (int step = 0; step < rules.steps; ++step) {
      std::vector<double> corrected;
      for (std::size_t i = 0; i < mask.size(); ++i)
        if (mask[i]) corrected.push_back(log[i] - field[i]);
      const auto sharp = sharpened(corrected, rules.sharpness);
      for (std::size_t i = 0, n = 0; i < mask.size(); ++i)
        if (mask[i]) residual[i] = (corrected[n] - sharp[n]) * weights[i], ++n;
      auto coefficients = along_axes(residual, cubes);
      for (std::size_t i = 0; i < coefficients.size(); ++i)
        coefficients[i] = support[i] > 1e-6 ? coefficients[i] / support[i] : 0;
      const auto fitted = along_axes(coefficients, back);
      for (std::size_t i = 0; i < field.size(); ++i) field[i] += fitted[i];
    }
  }
  return field;
}

// --- The field of a series ----------------------------------------------------------------------

// Numbers of the slices of a series of so many that normalisation and field are estimated from.
inline std::vector<int> sampled(int count, int most = 32) {
  std::vector<int> numbers(std::min(count, most));
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = count <= most ? int(i) : int(std::nearbyint(double(i) * (count - 1) / (most - 1)));
  return numbers;
}

// How much brighter each slice is than the one before, as a logarithm; nothing where it is not known.
inline std::vector<std::optional<double>> steps_of(const std::vector<double>& log,
                                                   const Mask& counted, const Mask& deep,
                                                   std::size_t slices) {
  const std::size_t area = log.size() / slices;
  std::vector<std::optional<double>> steps(slices);
  for (std::size_t k = 1; k < slices; ++k) {
    std::vector<double> ratios;
    for (const Mask* both : {&deep, &counted}) {
      if (ratios.size() >= kLeastShared) break;
      ratios.clear();
      for (std::size_t i = k * area; i < (k + 1) * area; ++i)
        if ((*both)[i] && (*both)[i - area]) ratios.push_back(log[i] - log[i - area]);
    }
    if (ratios.size() >= kLeastShared) steps[k] = median(ratios);
  }
  return steps;
}

// Whether the ratio of neighbours jumps from one pair to the next (interleaving).
inline bool jump(const std::vector<std::optional<double>>& steps, double disagreement) {
  std::vector<double> known, jumps;
  for (const auto& step : steps)
    if (step) known.push_back(*step);
  for (std::size_t k = 1; k < known.size(); ++k) jumps.push_back(std::abs(known[k] - known[k - 1]));
  return jumps.size() >= kLeastJumps && median(jumps) > disagreement;
}

// Whether each slice ends at its own brightest: it was exported with a window of its own. Under a
// window that they share, what is brightest differs from slice to slice; and where it cuts off what
// is bright, how much it cuts off.
inline bool end_alike(const std::vector<const Image*>& slices, double black) {
  if (slices.size() <= kLeastJumps) return false;
  float highest = -std::numeric_limits<float>::infinity();
  for (const Image* slice : slices)
    highest = std::max(highest, *std::max_element(slice->pixels.begin(), slice->pixels.end()));
  const float end = static_cast<float>(black + 0.98 * (highest - black));
  std::vector<double> shares;
  for (const Image* slice : slices) {
    const auto& pixels = slice->pixels;
    const auto at_end =
        std::count_if(pixels.begin(), pixels.end(), [&](float value) { return value >= end; });
    shares.push_back(double(at_end) / pixels.size());
  }
  const auto ending =
      std::count_if(shares.begin(), shares.end(), [](double share) { return share > 0; });
  const bool most = double(ending) / shares.size() >= 0.8;
  return most && (median(shares) < 1e-3 || quantile(shares, 0.9) < 3 * quantile(shares, 0.1));
}

// How much brighter each slice is than it should be, as a logarithm; nothing but zeros unless the
// slices disagree.
inline std::vector<double> gains_of(const std::vector<std::optional<double>>& steps,
                                    bool disagree) {
  std::vector<double> gains(steps.size());
  for (std::size_t k = 1; disagree && k < steps.size(); ++k)
    gains[k] = gains[k - 1] + steps[k].value_or(0);
  return gains;
}

// The field of at most 32 slices, by their numbers in the series; none where no brain is deep
// enough to tell.
inline std::optional<Field> estimate_field(const std::vector<Image>& slices,
                                           const std::vector<int>& numbers,
                                           const Normalisation& norm, double brain_level,
                                           double head_level, const Shading& rules) {
  const int side = rules.side;
  const double level = head_level * brain_level;
  std::vector<double> log;
  Mask counted, deep;
  for (const Image& slice : slices) {
    Image fine = on_grid(slice, norm, 2 * side, brain_level), inside(2 * side, 2 * side);
    const Image low = resized_area(fine, side, side);
    const Mask fine_head = head_mask(clipped(fine), level);
    std::copy(fine_head.begin(), fine_head.end(), inside.pixels.begin());
    inside = resized_area(inside, side, side);
    Mask head(inside.pixels.size());
    for (std::size_t i = 0; i < head.size(); ++i) head[i] = inside.pixels[i] > 0.5f;
    const auto size = std::accumulate(head.begin(), head.end(), std::size_t{0});
    const auto depths = depth(head, side, side);
    const Box bounds = bounds_of(head, side, side);
    for (std::size_t i = 0; i < head.size(); ++i) {
      log.push_back(std::log(std::max<double>(low.pixels[i], kDarkest)));
      counted.push_back(head[i] && low.pixels[i] > level && size >= 0.02 * head.size());
      deep.push_back(counted.back() && depths[i] > 0.2 * std::min(bounds.width, bounds.height));
    }
  }
  if (std::find(deep.begin(), deep.end(), 1) == deep.end()) return std::nullopt;
  const std::size_t area = static_cast<std::size_t>(side) * side;
  std::vector<const Image*> seen;  // what shows a head
  for (std::size_t i = 0; i < counted.size(); ++i)
    if (counted[i] && (seen.empty() || seen.back() != &slices[i / area]))
      seen.push_back(&slices[i / area]);
  const auto steps = steps_of(log, counted, deep, slices.size());
  const auto gains =
      gains_of(steps, jump(steps, rules.disagreement) || end_alike(seen, norm.black));
  for (std::size_t i = 0; i < log.size(); ++i) log[i] -= gains[i / area];
  auto field = n4(log, counted, static_cast<int>(slices.size()), rules);
  const auto in_depth = [&](auto value) {
    std::vector<double> values;
    for (std::size_t i = 0; i < deep.size(); ++i)
      if (deep[i]) values.push_back(value(i));
    return median(values);
  };
  const double middle = in_depth([&](std::size_t i) { return field[i]; });
  for (double& value : field) value = std::clamp(value - middle, -rules.limit, rules.limit);
  // The brain keeps its median: how bright the series is, is estimated elsewhere.
  const double shift =
      in_depth([&](std::size_t i) { return log[i] - field[i]; }) - std::log(brain_level);
  const bool disagree = std::any_of(gains.begin(), gains.end(), [](double gain) { return gain; });
  Field result{numbers, {}};
  for (std::size_t k = 0; k < slices.size(); ++k) {
    SliceField slice{Image(side, side), std::nullopt, gains[k]};
    if (disagree) slice.expected.emplace(side, side, -std::numeric_limits<float>::infinity());
    for (std::size_t i = 0; i < area; ++i) {
      const std::size_t place = k * area + i;
      slice.log.pixels[i] = static_cast<float>(field[place] + shift);
      if (disagree && deep[place])
        slice.expected->pixels[i] = static_cast<float>(log[place] - field[place] - shift);
    }
    result.slices.push_back(slice);
  }
  return result;
}

// The field of one slice, between those that it is known for.
inline SliceField at(const Field& field, int number) {
  const auto& numbers = field.numbers;
  if (number <= numbers.front()) return field.slices.front();
  if (number >= numbers.back()) return field.slices.back();
  const auto after = std::upper_bound(numbers.begin(), numbers.end(), number) - numbers.begin();
  const SliceField& before = field.slices[after - 1];
  const float part = float(number - numbers[after - 1]) / (numbers[after] - numbers[after - 1]);
  if (part == 0) return before;
  SliceField between = before;
  const auto mix = [&](Image& image, const Image& other) {
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = image.pixels[i] * (1 - part) + other.pixels[i] * part;
  };
  mix(between.log, field.slices[after].log);
  if (between.expected) mix(*between.expected, *field.slices[after].expected);
  between.gain = before.gain * (1 - part) + field.slices[after].gain * part;
  return between;
}

// The model's input, size x size, in [0, 1], of a slice whose light is made even.
inline Image prepared(const Image& image, const Normalisation& norm, const SliceField& field,
                      int size, double brain_level) {
  Image input = on_grid(image, norm, size, brain_level);
  Image light = field.log;
  if (field.expected) {  // how much brighter it is as a whole than its neighbours let expect
    const Image seen = resized_area(input, light.height, light.width);
    std::vector<double> differences;
    for (std::size_t i = 0; i < light.pixels.size(); ++i)
      if (std::isfinite(field.expected->pixels[i]) && seen.pixels[i] > float(kDarkest))
        differences.push_back(std::log(seen.pixels[i]) - light.pixels[i] -
                              field.expected->pixels[i]);
    // At the vertex too little of a brain is in both to tell.
    const double level = differences.size() >= kLeastShared ? median(differences) : field.gain;
    for (float& value : light.pixels) value += static_cast<float>(level);
  }
  for (float& value : light.pixels) value = std::exp(value);
  light = resized_linear(light, size, size);
  for (std::size_t i = 0; i < input.pixels.size(); ++i) input.pixels[i] /= light.pixels[i];
  return clipped(input);
}

}  // namespace gliomart
