// From a user's words to a disk: formats are always stated here or in an image's own metadata written by us, never
// guessed from content, because the content may be a guest's.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/disk.hpp"
#include "block/throttle.hpp"

namespace nagaya::block {

/// VMDK, VHD and VHDX are read for import only: open_disk() and create_image() refuse them.
enum class Format : u8 { raw, qcow2, vmdk, vhd, vhdx };
[[nodiscard]] constexpr bool import_only(Format format) { return format > Format::qcow2; }
[[nodiscard]] std::string_view format_name(Format format);
/// The error lists the known names.
Result<Format> parse_format(std::string_view name);

/// How requests that cannot be served at once reach the kernel. `automatic`: what was measured to be faster, threads (see
/// docs/design/block.md); io_uring is for raw images and for hosts that allow it. A ring outlives the jail of a machine's process (host/jail), which forbids to make one.
enum class IoMethod : u8 { automatic, threads, io_uring };

struct OpenOptions {
  std::string path;
  Format format = Format::raw;
  bool read_only = false;
  bool discard = true;  ///< offer discard; space goes back to the host
  /// Format of the backing file when the image names one but does not state its format.
  std::optional<Format> backing_format{};
  /// Files or folders where backing files may be found besides the image's own folder (and what is below it).
  std::vector<std::string> allowed_backing{};
  IoMethod io = IoMethod::automatic;
  unsigned threads = 0;  ///< workers; 0: chosen by the number of host CPUs
  ThrottleLimits throttle{};
};

/// Opens and locks an image. A second writer, or a writer beside readers, is an error that says so.
Result<std::unique_ptr<Disk>> open_disk(const OpenOptions& options);

}  // namespace nagaya::block
