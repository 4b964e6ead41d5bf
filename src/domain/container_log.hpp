// What a container has written, line by line with the time of each: "2026-01-02T03:04:05.123456789Z stdout F text" ("P": the line goes on
// in the next entry). Source: Kubernetes CRI logging format. Two files of bounded size, the older beside the newer.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

enum class Stream : u8 { out = 1, err = 2 };

class LogWriter {
 public:
  static constexpr u64 usual_limit = 16 * MiB;
  /// Appends to `path`; at `limit` bytes it becomes `path`.1, whose earlier content goes.
  static Result<LogWriter> open(const std::string& path, u64 limit = usual_limit);
  void write(Stream stream, std::string_view data);
  /// What is left of unfinished lines.
  void finish();

 private:
  void put(Stream stream, std::string_view text, bool whole);
  std::string path_;
  host::Fd file_;
  u64 limit_ = usual_limit, size_ = 0;
  std::string pending_[2];
};

struct LogOptions {
  bool follow = false, timestamps = false;
  i64 tail = -1;  ///< only the last lines; -1: all
};
/// Hands the text on as it was written, stream by stream. With `follow` until `ended` says so and nothing more comes.
Result<> read_log(const std::string& path, const LogOptions& options, const std::function<bool()>& ended,
                  const std::function<Result<>(Stream stream, std::string_view text)>& take);

}  // namespace nagaya::domain
