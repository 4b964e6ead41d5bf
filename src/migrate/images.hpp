// CRIU's images over the stream. Dumps of one container are much alike: pages that the round before has, at any place, are named instead of
// sent, so that rounds while it runs shorten the last one also on kernels that do not mark written pages.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "migrate/stream.hpp"

namespace nagaya::migrate {

struct ImageLimits {
  u64 files = 100'000;
  u64 bytes = u64{1} << 40;  ///< of one folder
};

/// Remembers the pages of the round sent last.
class ImageSender {
 public:
  /// Sends the folder as round `round`. Returns how many bytes of pages were sent as they are.
  Result<u64> send(Stream& stream, const std::string& folder, u32 round);

 private:
  struct Place {
    u32 file = 0;
    u64 offset = 0;
  };
  struct Digest {
    u64 low = 0, high = 0;
    bool operator==(const Digest&) const = default;
  };
  struct DigestHash {
    std::size_t operator()(const Digest& digest) const { return digest.low; }
  };
  using Index = std::unordered_map<Digest, Place, DigestHash>;
  static Digest digest_of(std::span<const u8> page);
  Result<u64> send_file(Stream& stream, const std::string& path, const std::string& name, u64 size, u32 number, Index& next);

  std::vector<std::string> names_;  ///< of the round before
  Index pages_;
};

/// Receives one round, whose `images_begin` has been read, into `folder` (made, must not be there); `before` is the round before, or empty.
Result<> receive_images(Stream& stream, const std::string& folder, const std::string& before, const ImageLimits& limits = {});

/// A plain file name: letters, digits, "._-", not beginning with a dot, at most 255.
bool is_image_name(std::string_view name);

}  // namespace nagaya::migrate
