// Symbols of translated code for perf(1): /tmp/perf-PID.map, one line "START SIZE NAME" (hexadecimal) per block. After a whole
// flush of the code cache addresses are used again; perf then shows the later name.
#pragma once
#include <memory>

#include "engine/soft/light/blocks.hpp"
#include "host/fd.hpp"

namespace nagaya::engine::soft {

class PerfMap {
 public:
  /// For this process; replaces a file of that name that an earlier process left.
  static Result<std::unique_ptr<PerfMap>> create();
  /// Each line is written at once, so that the file is good whenever perf looks.
  void add(const Block& block, u64 rip);

  static std::string path();

 private:
  explicit PerfMap(host::Fd file) : file_(std::move(file)) {}
  host::Fd file_;
};

}  // namespace nagaya::engine::soft
