#include "block/open.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "block/foreign_image.hpp"
#include "block/open_image.hpp"
#include "block/pool_disk.hpp"
#include "block/raw.hpp"
#include "block/uring_disk.hpp"

namespace nagaya::block {
namespace {

constexpr unsigned max_depth = 64;  // of backing chains

constexpr std::array names{std::pair{Format::raw, std::string_view("raw")}, std::pair{Format::qcow2, std::string_view("qcow2")},
                           std::pair{Format::vmdk, std::string_view("vmdk")}, std::pair{Format::vhd, std::string_view("vhd")},
                           std::pair{Format::vhdx, std::string_view("vhdx")}};

Result<std::unique_ptr<Image>> open_file(File file, Format format, const OpenOptions& options, unsigned depth, bool for_check);

// Whether `path`, with links resolved, is one of `allowed` or below one of them.
bool is_allowed(const std::string& path, const std::vector<std::string>& allowed) {
  std::error_code failed;
  const auto real = std::filesystem::canonical(path, failed);
  if (failed) return false;
  for (const std::string& one : allowed) {
    const auto root = std::filesystem::canonical(one, failed);
    if (failed) continue;
    const auto [end, rest] = std::mismatch(root.begin(), root.end(), real.begin(), real.end());
    if (end == root.end()) return true;
  }
  return false;
}

Result<File> find_backing(const std::string& image, const std::string& path, const std::vector<std::string>& allowed) {
  const std::string what = fmt::format("cannot use '{}' as backing file of '{}'", path, image);
  if (path.empty()) return fail(what, "the name is empty");
  const std::size_t colon = path.find(':'), slash = path.find('/');
  if (colon != std::string::npos && (slash == std::string::npos || colon < slash)) {
    return fail(what, "it names a protocol, not a file");
  }
  const bool absolute = path.starts_with('/');
  const std::string full = absolute ? path : (std::filesystem::path(image).parent_path() / path).string();
  if (is_allowed(full, allowed)) {
    // Opened by its resolved name: a link that is changed meanwhile leads nowhere else.
    std::error_code failed;
    const auto real = std::filesystem::canonical(full, failed);
    if (failed || !is_allowed(real.string(), allowed)) return fail(what, "it changed while it was opened");
    return File::open(real.string(), Access::read_only);
  }
  if (absolute) return fail(what, "it is outside the image's folder", "allow the path explicitly");
  auto file = File::open_beneath(image, path, Access::read_only);
  if (!file) return std::unexpected(std::move(file.error()).within(what));
  return file;
}

Result<std::unique_ptr<Image>> open_below(const std::string& image, const std::string& path, Format format,
                                          const std::vector<std::string>& allowed, unsigned depth) {
  if (depth >= max_depth) {
    return fail(fmt::format("cannot open '{}'", image), fmt::format("its backing chain has more than {} images, or is a ring", max_depth));
  }
  TRY_ASSIGN(File file, find_backing(image, path, allowed));
  if (import_only(format)) return fail(fmt::format("cannot use '{}' as backing file", path), "its format is for import only");
  OpenOptions below{.path = file.name(), .format = format, .read_only = true, .allowed_backing = allowed};
  return open_file(std::move(file), format, below, depth + 1, false);
}

Result<std::unique_ptr<qcow2::Qcow2Image>> open_qcow2_file(File file, const OpenOptions& options, unsigned depth, bool for_check) {
  TRY_ASSIGN(const qcow2::Header header, qcow2::read_header(file));
  std::unique_ptr<Image> below;
  if (!header.backing_path.empty()) {
    Format format;
    if (!header.backing_format.empty()) {
      auto stated = parse_format(header.backing_format);
      if (!stated) return std::unexpected(std::move(stated.error()).within(fmt::format("backing file of '{}'", file.name())));
      format = *stated;
    } else if (options.backing_format) {
      format = *options.backing_format;
    } else {
      return fail(fmt::format("cannot open '{}'", file.name()),
                  fmt::format("the format of its backing file '{}' is stated nowhere", header.backing_path),
                  "state it; formats are never guessed");
    }
    TRY_ASSIGN(below, open_below(file.name(), header.backing_path, format, options.allowed_backing, depth));
  }
  return qcow2::Qcow2Image::open(std::move(file), std::move(below), {.discard = options.discard, .for_check = for_check});
}

Result<std::unique_ptr<Image>> open_file(File file, Format format, const OpenOptions& options, unsigned depth, bool for_check) {
  if (format == Format::raw) {
    TRY_ASSIGN(std::unique_ptr<Image> image, RawImage::open(std::move(file), options.discard));
    return image;
  }
  TRY_ASSIGN(std::unique_ptr<Image> image, open_qcow2_file(std::move(file), options, depth, for_check));
  return image;
}

}  // namespace

std::string_view format_name(Format format) {
  for (const auto& [known, name] : names)
    if (known == format) return name;
  return "?";
}

Result<Format> parse_format(std::string_view name) {
  for (const auto& [format, known] : names)
    if (known == name) return format;
  return fail(fmt::format("'{}' is no image format", name), {}, "raw, qcow2; for import also vmdk, vhd, vhdx");
}

Result<std::unique_ptr<Image>> open_backing(const std::string& image, const std::string& path, Format format,
                                            const std::vector<std::string>& allowed) {
  return open_below(image, path, format, allowed, 0);
}

Result<std::unique_ptr<Image>> open_image(const OpenOptions& options) {
  if (import_only(options.format)) {
    if (!options.read_only) return fail(fmt::format("cannot write '{}'", options.path), "images of this format are only read", "convert it first: nagaya volume convert");
    return options.format == Format::vmdk ? open_vmdk(options.path) : open_vhd(options.path);
  }
  TRY_ASSIGN(File file, File::open(options.path, options.read_only ? Access::read_only : Access::read_write));
  return open_file(std::move(file), options.format, options, 0, false);
}

Result<std::unique_ptr<qcow2::Qcow2Image>> open_qcow2(const OpenOptions& options, bool for_check) {
  TRY_ASSIGN(File file, File::open(options.path, options.read_only ? Access::read_only : Access::read_write));
  return open_qcow2_file(std::move(file), options, 0, for_check);
}

Result<std::unique_ptr<Disk>> open_disk(const OpenOptions& options) {
  if (import_only(options.format)) {
    return fail(fmt::format("cannot use '{}' as a disk", options.path), "images of this format are for import only", "convert it first: nagaya volume convert");
  }
  TRY_ASSIGN(std::unique_ptr<Image> image, open_image(options));
  std::unique_ptr<Disk> disk;
  if (options.io == IoMethod::io_uring) {
    if (options.format != Format::raw) {
      return fail(fmt::format("cannot open '{}' with io_uring", options.path), "only raw images are read and written by it");
    }
    TRY_ASSIGN(disk, uring_disk(image));
  }
  if (!disk) disk = pool_disk(std::move(image), options.threads);
  if (options.throttle.any()) disk = throttle(std::move(disk), options.throttle);
  return disk;
}

}  // namespace nagaya::block
