// Writes a target's seeds into a folder: the start of a corpus.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "fuzz.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  std::error_code error;
  std::filesystem::create_directories(argv[1], error);
  int number = 0;
  for (const auto& seed : nagaya::fuzz::seeds()) {
    const auto path = std::filesystem::path(argv[1]) / ("seed-" + std::to_string(number++));
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), std::fclose);
    if (!file || std::fwrite(seed.data(), 1, seed.size(), file.get()) != seed.size()) {
      std::perror(path.c_str());
      return 1;
    }
  }
  return 0;
}
