#include "image/oci.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "block/create.hpp"
#include "host/fd.hpp"
#include "image/digest.hpp"
#include "image/ext4.hpp"
#include "image/kernel.hpp"
#include "image/reference.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::image {
namespace {

constexpr u64 largest_layer = 64 * GiB;
constexpr unsigned deepest_index = 4;

/// Content of a layout, by its hash. Links and what is no regular file are refused.
Result<host::Fd> open_blob(const std::string& folder, const OciDescriptor& blob, const std::string& what) {
  const std::string path = folder + "/blobs/sha256/" + blob.sha256;
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("cannot read '{}'", path));
  if (!S_ISREG(info.st_mode)) return fail(what, "its content is no regular file", "the image is damaged or hostile");
  if (static_cast<u64>(info.st_size) != blob.size) return fail(what, fmt::format("{} bytes where {} are stated", info.st_size, blob.size), "the image is damaged");
  return fd;
}

Result<std::string> read_document(const std::string& folder, const OciDescriptor& blob, const std::string& what) {
  if (blob.size > proto::longest_json) return fail(what, "larger than 1 MiB");
  TRY_ASSIGN(const host::Fd fd, open_blob(folder, blob, what));
  TRY_ASSIGN(const std::vector<u8> bytes, host::read_all(fd.get(), proto::longest_json, what));
  if (sha256(bytes) != blob.sha256) return fail(what, "its content does not have the hash it is named by", "the image is damaged");
  return std::string(bytes.begin(), bytes.end());
}

Result<std::string> checked_layer(const std::string& folder, const OciDescriptor& layer, const Work& work) {
  const std::string what = fmt::format("layer {}", layer.sha256.substr(0, 12));
  if (layer.size > largest_layer) return fail(what, "larger than 64 GiB");
  TRY_ASSIGN(const host::Fd fd, open_blob(folder, layer, what));
  Sha256 sum;
  std::vector<u8> buffer(MiB);
  for (;;) {
    TRY(work.check());
    TRY_ASSIGN(const std::size_t got, host::read_up_to(fd.get(), buffer));
    sum.update(std::span(buffer).first(got));
    if (got < buffer.size()) break;
  }
  if (sum.finish() != layer.sha256) return fail(what, "its content does not have the hash it is named by", "the image is damaged");
  return folder + "/blobs/sha256/" + layer.sha256;
}

bool is_index(const OciDescriptor& one) {
  return one.media_type == "application/vnd.oci.image.index.v1+json" || one.media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

/// The entry meant by `ref`, else the one for this platform.
Result<OciDescriptor> choose(const std::vector<OciDescriptor>& entries, const std::string& ref) {
  std::vector<OciDescriptor> fitting;
  for (const OciDescriptor& one : entries) {
    if (!ref.empty() && one.ref_name != ref) continue;
    if ((one.architecture.empty() || one.architecture == "amd64") && (one.os.empty() || one.os == "linux")) fitting.push_back(one);
  }
  if (fitting.empty()) {
    return ref.empty() ? fail("the image's index", "nothing in it is for linux on amd64") : fail(fmt::format("'{}'", ref), "the layout has no image of that name");
  }
  const auto same = [&](const OciDescriptor& one) { return one.sha256 == fitting[0].sha256; };
  // Several platforms may fit (variants): the first is meant. Several names are several images.
  if (ref.empty() && !fitting[0].ref_name.empty() && !std::ranges::all_of(fitting, same)) {
    return fail("the layout", "it has several images", fmt::format("name one, such as oci:DIR:{}", fitting[0].ref_name));
  }
  return fitting[0];
}

/// The last part of a path without its ending, made fit for a name.
std::string name_from_path(const std::string& path) {
  std::string out;
  for (const char c : std::filesystem::path(path).lexically_normal().filename().stem().string()) {
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9')) {
      out += lower;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (out.ends_with('-')) out.pop_back();
  return out;
}

/// As people call what Docker's registry has.
std::string short_name(const Reference& reference) {
  std::string name = reference.name;
  for (const char* prefix : {"docker.io/library/", "docker.io/"}) {
    if (name.starts_with(prefix)) {
      name = name.substr(std::string_view(prefix).size());
      break;
    }
  }
  return name + ":" + reference.tag;
}

}  // namespace

Result<OciSource> parse_oci_source(const std::string& text) {
  const auto after = [&](const char* prefix) { return text.starts_with(prefix) ? text.substr(std::string_view(prefix).size()) : std::string(); };
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; })) return fail("the image's place", "a control character in it");
  OciSource out;
  for (const char* kind : {"docker-archive:", "oci-archive:"}) {
    if (const std::string path = after(kind); !path.empty()) {
      if (path.find(':') != std::string::npos) return fail(fmt::format("'{}'", path), "skopeo takes no ':' in a file's name", "give the file another name");
      if (::access(path.c_str(), R_OK) != 0) return fail_errno(fmt::format("cannot read '{}'", path));
      out.skopeo = text;
      out.name = name_from_path(path);
      return out;
    }
  }
  if (const std::string path = after("oci:"); !path.empty()) {
    const std::size_t colon = path.rfind(':');
    const bool with_ref = colon != std::string::npos && ::access(path.c_str(), F_OK) != 0;
    out.layout = with_ref ? path.substr(0, colon) : path;
    if (with_ref) out.ref = path.substr(colon + 1);
    out.name = name_from_path(out.layout);
    return out;
  }
  const std::string reference = text.starts_with("docker://") ? after("docker://") : text;
  TRY_ASSIGN(const Reference parsed, Reference::parse(reference));
  out.skopeo = "docker://" + parsed.text();
  out.name = short_name(parsed);
  return out;
}

Result<OciLayout> open_layout(const std::string& folder, const std::string& ref, const Work& work) {
  auto bytes = host::read_file(folder + "/index.json", proto::longest_json);
  if (!bytes) return fail(fmt::format("'{}' is no OCI layout", folder), bytes.error().message());
  std::string text(bytes->begin(), bytes->end());
  OciDescriptor chosen;
  for (unsigned depth = 0;; ++depth) {
    if (depth == deepest_index) return fail("the image's index", "indexes within indexes", "the image is damaged or hostile");
    TRY_ASSIGN(const auto entries, parse_oci_index(text));
    TRY_ASSIGN(chosen, choose(entries, depth == 0 ? ref : ""));
    TRY_ASSIGN(text, read_document(folder, chosen, "the image's manifest"));
    if (!is_index(chosen)) break;
  }
  TRY_ASSIGN(const OciManifest manifest, parse_oci_manifest(text));
  TRY_ASSIGN(const std::string config, read_document(folder, manifest.config, "the image's configuration"));
  OciLayout out;
  TRY_ASSIGN(out.config, parse_oci_config(config));
  for (const OciDescriptor& layer : manifest.layers) {
    TRY_ASSIGN(std::string path, checked_layer(folder, layer, work));
    out.layers.push_back(std::move(path));
  }
  return out;
}

Result<Image> pull(Store& store, const PullOptions& options, const Work& work) {
  TRY_ASSIGN(OciSource source, parse_oci_source(options.source));
  const std::string name = options.name.empty() ? source.name : options.name;
  TRY(Reference::parse(name));
  TRY_ASSIGN(const Scratch scratch, store.scratch());
  if (source.layout.empty()) {
    source.layout = scratch.path() + "/layout";
    work.say(fmt::format("fetching {} (skopeo)", options.source));
    std::vector<std::string> args{"--override-os", "linux", "--override-arch", "amd64"};
    // Where the host states no policy on signatures, skopeo would refuse everything.
    if (::access("/etc/containers/policy.json", F_OK) != 0) args.emplace_back("--insecure-policy");
    args.insert(args.end(), {"copy", "--quiet", source.skopeo, "oci:" + source.layout + ":image"});
    TRY(run_tool({.name = "skopeo", .package = "skopeo", .args = std::move(args), .scratch = scratch.path()}, work));
  }
  TRY_ASSIGN(const OciLayout layout, open_layout(source.layout, source.ref, work));
  // Whatever is wrong with the layers shows now, and not when something is made of them.
  TRY(read_tree({.files = layout.layers}));
  NewImage made{.kind = Kind::oci,
                .name = name,
                .source = options.source,
                .append = "console=ttyS0 root=/dev/vda rw quiet loglevel=3 cryptomgr.notests",
                .oci = layout.config};
  for (std::size_t i = 0; i < layout.layers.size(); ++i) {
    // The store moves files; those of a layout are not ours.
    std::string copy = fmt::format("{}/layer-{}", scratch.path(), i);
    std::error_code error;
    std::filesystem::copy_file(layout.layers[i], copy, error);
    if (error) return fail_errno("cannot copy a layer", error.value());
    made.layers.push_back(std::move(copy));
  }
  TRY(work.check());
  TRY_ASSIGN(Image image, store.add(made));
  if (options.size == 0) return image;
  return with_disk(store, image, options.size, work);
}

Result<Image> with_disk(Store& store, const Image& image, u64 size, const Work& work) {
  TRY(ensure_kernel(store, work));
  if (image.layers.empty() || !image.disk_path.empty()) return store.find(image.id);
  TRY_ASSIGN(const Scratch scratch, store.scratch());
  Layers layers;
  for (const ImageLayer& layer : image.layers) layers.files.push_back(layer.path);
  TRY_ASSIGN(const Tree tree, read_tree(layers));
  work.say(fmt::format("writing the disk of {} layers", layers.files.size()));
  const std::string raw = scratch.path() + "/disk.raw", disk = scratch.path() + "/disk.qcow2";
  TRY(make_ext4(layers, tree, {.path = raw, .size = size, .label = "root", .scratch = scratch.path()}, work));
  TRY(block::convert_image({.from = {.path = raw, .format = block::Format::raw, .read_only = true}, .to = {.path = disk, .format = block::Format::qcow2}}));
  TRY(work.check());
  TRY(store.add_disk(image, disk));
  return store.find(image.id);
}

}  // namespace nagaya::image
