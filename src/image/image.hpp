// An image as the store gives it: what to boot and how, with paths of its files.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "image/health.hpp"

namespace nagaya::image {

enum class Kind : u8 {
  disk,   ///< a whole system on a disk, with its kernel and initial RAM disk
  oci,    ///< a root file system and the program to run in it
  kernel  ///< a kernel and its initial RAM disk, for images that have none
};
[[nodiscard]] std::string_view kind_name(Kind kind);

/// What an OCI image's configuration says about running it (OCI image specification 1.1, "Image Configuration").
struct OciConfig {
  std::vector<std::string> entrypoint{}, cmd{};
  std::vector<std::string> env{};  ///< NAME=VALUE
  std::string workdir{}, user{}, stop_signal{};
  std::vector<std::string> volumes{}, exposed_ports{};
  std::map<std::string, std::string> labels{};
  HealthCheck health{};
  bool operator==(const OciConfig&) const = default;
};

/// A layer of a root file system: an archive, the lowest first.
struct ImageLayer {
  std::string sha256{}, path{};
  u64 size = 0;  ///< bytes of the archive
};

struct Image {
  std::string id{};                   ///< SHA-256 of the manifest, 64 hexadecimal digits
  std::vector<std::string> names{};   ///< NAME:TAG, sorted; may be empty
  u64 created = 0;                    ///< seconds since 1970
  Kind kind = Kind::disk;
  std::string source{};               ///< what it was made from, for people
  u64 size = 0;                       ///< bytes of its files
  u64 disk_size = 0;                  ///< bytes of the disk as a guest sees it; 0: there is none
  std::string disk_path{};            ///< never to be written: make an overlay
  std::string disk_format{};          ///< "qcow2" or "raw"
  std::string kernel_path{}, initrd_path{};
  std::string append{};               ///< kernel command line
  OciConfig oci{};                    ///< Kind::oci only
  std::vector<ImageLayer> layers{};   ///< what containers are made of; empty: only machines can be
};

}  // namespace nagaya::image
