// Does in software what a packet's header asks of its receiver, for a receiver that cannot: completes its checksum, cuts TCP
// and UDP into segments. Sources: RFC 1071 (checksum), RFC 9293 (TCP), RFC 768 (UDP), RFC 791 and 8200 (IP).
#pragma once
#include <sys/uio.h>

#include <array>
#include <span>
#include <vector>

#include "net/wire.hpp"

namespace nagaya::net {

/// One frame at a time, cut as it is asked for, so that a small gso_size costs no memory.
class Segmenter {
 public:
  /// Takes a frame and its checked header. False: its contents contradict the header, the frame is to be dropped. The
  /// frame must stay, and may be changed by us, until the last segment is done with.
  bool begin(const Header& header, std::span<u8> frame);
  [[nodiscard]] bool active() const { return active_; }
  /// The current segment as pieces of memory, valid until advance().
  [[nodiscard]] std::span<const iovec> current() const { return {parts_.data(), parts_count_}; }
  /// To the next segment, if any.
  void advance();
  void cancel() { active_ = false; }

 private:
  static constexpr std::size_t most_headers = 14 + 8 + 256 + 60;

  [[nodiscard]] bool parse();
  void build();

  Header header_;
  std::span<u8> frame_;
  bool active_ = false, ip6_ = false, tcp_ = false;
  std::size_t ip_ = 0, l4_ = 0, payload_ = 0;  // where they begin
  std::size_t at_ = 0, size_ = 0;              // the current piece of payload
  u16 number_ = 0;
  std::array<u8, most_headers> headers_{};
  std::array<iovec, 2> parts_{};
  std::size_t parts_count_ = 0;
};

/// The ones' complement sum of RFC 1071 over `data`, on top of `sum`; not folded.
[[nodiscard]] u64 add_sum(std::span<const u8> data, u64 sum = 0);
/// Folds a sum to what belongs in a header, in host order.
[[nodiscard]] u16 finish_sum(u64 sum);

}  // namespace nagaya::net
