// OCI images (image specification 1.1): a layout in a folder is read here; what comes from registries and archives, skopeo
// brings into one first.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/image.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace nagaya::image {

/// What a manifest names, in order.
struct OciDescriptor {
  std::string media_type{}, sha256{};
  u64 size = 0;
  std::string architecture{}, os{};  ///< of an index's entries; may be empty
  std::string ref_name{};            ///< annotation org.opencontainers.image.ref.name
};
struct OciManifest {
  OciDescriptor config{};
  std::vector<OciDescriptor> layers{};
};

/// Readers of the three documents; unknown fields are allowed there, wrong ones are not.
[[nodiscard]] Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text);
[[nodiscard]] Result<OciManifest> parse_oci_manifest(std::string_view text);
/// Refuses what is not for linux on amd64.
[[nodiscard]] Result<OciConfig> parse_oci_config(std::string_view text);

/// An image in a layout, its documents read and all its content compared with its hashes.
struct OciLayout {
  OciConfig config{};
  std::vector<std::string> layers{};  ///< paths, the lowest first
};
/// `ref`: the image of that name; empty: the only one.
[[nodiscard]] Result<OciLayout> open_layout(const std::string& folder, const std::string& ref, const Work& work);

/// Where an image comes from.
struct OciSource {
  std::string layout{};  ///< a layout's folder, read in place; or
  std::string skopeo{};  ///< what skopeo takes
  std::string ref{};     ///< image of a layout
  std::string name{};    ///< what to call it, if nobody says otherwise
};
/// "docker://REF", "NAME[:TAG]", "docker-archive:FILE", "oci-archive:FILE", "oci:DIR[:REF]".
[[nodiscard]] Result<OciSource> parse_oci_source(const std::string& text);

struct PullOptions {
  std::string source{};
  std::string name{};  ///< empty: as the source is called
  u64 size = 0;        ///< a disk for machines is made at once, of this size or larger when the content needs it; 0: when one wants it
};
inline constexpr u64 default_disk_size = 4 * GiB;
[[nodiscard]] Result<Image> pull(Store& store, const PullOptions& options, const Work& work);

/// The image with a kernel and, made of its layers unless it is there already, a disk: what a machine needs.
[[nodiscard]] Result<Image> with_disk(Store& store, const Image& image, u64 size, const Work& work);

}  // namespace nagaya::image
