// Runs a gliomart model with the ONNX Runtime C++ API (1.21 or later), here on the worked example.
//
// Needs onnxruntime_cxx_api.h with its library, and nlohmann/json.hpp for the card:
//   g++ -std=c++17 session.cpp -lonnxruntime -o session && ./session flair-dae.onnx
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "example.hpp"

namespace gliomart {

struct Finding {
  double score = 0, p_value = 1;
  bool flagged = false;
  std::vector<Region> regions;
};

class Model {
 public:
  // One per process and model: any number of threads may call look() at once.
  explicit Model(const std::filesystem::path& path, int threads = 0)
      : session_(environment(), path.c_str(), options(threads)) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text =
        session_.GetModelMetadata().LookupCustomMetadataMapAllocated("gliomart", allocator);
    if (!text) throw std::runtime_error("the file carries no gliomart card");
    card_ = nlohmann::json::parse(text.get());
    const int schema = card_.at("schema");
    if (schema != 4 && schema != 5) throw std::runtime_error("a card of another schema");
    if (schema == 5 && (card_.at("family").get<std::string>() != "slice" ||
                        card_.at("images").size() != 1 ||
                        !card_.at("scoring").at("scalp").is_null()))
      throw std::runtime_error("a model that asks for more than is done here");
    if (card_.at("preprocessing").at("channels") != nlohmann::json{"plain"})
      throw std::runtime_error("channels that gliomart.hpp does not make");
  }

  // One slice, as its series is normalised.
  Finding analyse(const Image& slice, const Normalisation& norm) const {
    const auto& before = card_.at("preprocessing");
    const int size = before.at("size");
    Image input = prepared(slice, norm, size, before.at("brain_level"));
    if (!shows_head(input, before.at("brain_level"), before.at("head_level"),
                    before.at("minimum_head")))
      throw std::runtime_error("blank-slice");

    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::array<std::int64_t, 4> shape{1, size, size, 1};
    const Ort::Value image = Ort::Value::CreateTensor<float>(
        memory, input.pixels.data(), input.pixels.size(), shape.data(), shape.size());
    const char* inputs[] = {"image"};
    const char* outputs[] = {"anomaly_map"};
    const auto results =
        session_.Run(Ort::RunOptions{nullptr}, inputs, &image, 1, outputs, std::size(outputs));

    Image anomaly_map(size, size);  // restricted to the brain already
    const float* values = results[0].GetTensorData<float>();
    std::copy(values, values + anomaly_map.pixels.size(), anomaly_map.pixels.begin());
    for (const float value : anomaly_map.pixels)
      if (!std::isfinite(value)) throw std::runtime_error("the graph gave no finite map");
    return judged(anomaly_map, slice, norm);
  }

  Normalisation normalise(const std::vector<Image>& slices, double row_mm, double column_mm) const {
    const double margin = card_.at("preprocessing").at("margin");
    return estimate_normalisation(slices, row_mm, column_mm, margin);
  }

 private:
  Finding judged(const Image& anomaly_map, const Image& slice, const Normalisation& norm) const {
    const auto& scoring = card_.at("scoring");
    const auto& calibration = card_.at("calibration");
    Finding finding;
    finding.score = slice_score(anomaly_map, scoring.at("top_fraction"));
    finding.p_value = p_value(finding.score, calibration.at("slice_scores"));
    finding.flagged = finding.p_value <= calibration.at("false_alarm_rate").get<double>();
    const double pixels_per_pixel = static_cast<double>(norm.box.width) * norm.box.height /
                                    static_cast<double>(anomaly_map.pixels.size());
    finding.regions =
        find_regions(to_source(anomaly_map, norm.box, slice.height, slice.width),
                     calibration.at("pixel_threshold"),
                     scoring.at("minimum_area_px").get<double>() * pixels_per_pixel);
    return finding;
  }

  static Ort::Env& environment() {
    static Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "gliomart");
    return env;
  }

  static Ort::SessionOptions options(int threads) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);  // 0: one per core
    // Spinning threads starve whatever else the workstation does, and each other.
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
    return options;
  }

  mutable Ort::Session session_;  // running it changes nothing that can be seen
  nlohmann::json card_;
};

}  // namespace gliomart

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const gliomart::Model model(arguments[1]);
  const gliomart::Image slice = gliomart::synthetic(320, 272);
  const gliomart::Normalisation norm = model.normalise({slice}, 0.9, 0.8);
  const gliomart::Finding finding = model.analyse(slice, norm);
  std::printf("slice %.9g %.9g\n", finding.score, finding.p_value);
  for (const gliomart::Region& region : finding.regions)
    std::printf("slice_region %d %d %d %d %d\n", region.box.x, region.box.y,
                region.box.x + region.box.width, region.box.y + region.box.height, region.area);
}
