// A wire between two machines' network cards: two sockets that machines connect to, and threads that pass messages on.
#pragma once
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "runner.hpp"

namespace nagaya::system_test {

class Wire {
 public:
  /// Without `offloads` the ends never hear what the other can receive, and so have to send plain frames.
  explicit Wire(const std::string& name, bool offloads = true);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  /// Where end 0 or 1 connects to; again and again, one at a time.
  [[nodiscard]] const std::string& path(unsigned end) const { return ends_[end].path; }
  /// Bytes of the largest frame that came from an end.
  [[nodiscard]] unsigned largest(unsigned end) const { return ends_[end].largest; }
  [[nodiscard]] unsigned long frames(unsigned end) const { return ends_[end].frames; }

 private:
  struct End {
    std::string path;
    int listener = -1;
    std::atomic<int> peer = -1;
    std::atomic<unsigned> largest = 0;
    std::atomic<unsigned long> frames = 0;
    std::vector<char> told;  // the last control message, for a peer that comes later
    std::thread thread;
  };
  void serve(unsigned end);
  void pass(unsigned end, const std::vector<char>& message);

  const bool offloads_;
  std::atomic<bool> ending_ = false;
  std::array<End, 2> ends_;
};

/// A Debian kernel with a network card on `link` ("socket=…" or "tap=…") and the address 10.9.0.`host`.
[[nodiscard]] Words net_run(const std::string& link, unsigned host, const std::string& commands, const Words& more = {});

}  // namespace nagaya::system_test
