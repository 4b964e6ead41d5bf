// Reading the files of a boot.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "boot/boot.hpp"

namespace nagaya::boot {
namespace {

constexpr std::size_t step = 4 * MiB;

Result<std::vector<u8>> read_file(const std::string& path, const char* role, u64 limit) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return fail_errno(fmt::format("cannot open the {} '{}'", role, path));
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::vector<u8> bytes;
  // Read until the end rather than by the size: the path may be a pipe, and a size may change. It saves moving, though.
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  if (!ignored && size <= limit) bytes.reserve(size + step);
  for (;;) {
    const std::size_t at = bytes.size();
    bytes.resize(at + step);
    const std::size_t got = std::fread(bytes.data() + at, 1, step, file.get());
    bytes.resize(at + got);
    if (std::ferror(file.get())) return fail_errno(fmt::format("cannot read the {} '{}'", role, path));
    if (bytes.size() > limit) {
      return fail(fmt::format("cannot use the {} '{}'", role, path),
                  fmt::format("it is larger than the guest's memory ({} MiB)", limit / MiB),
                  "give the guest more memory, or check that this is the right file");
    }
    if (got < step) break;
  }
  if (bytes.empty()) return fail(fmt::format("cannot use the {} '{}'", role, path), "the file is empty");
  return bytes;
}

}  // namespace

Result<BootSource> read_boot_source(const BootFiles& files, u64 limit) {
  BootSource source;
  source.cmdline = files.cmdline;
  source.kernel_name = files.kernel;
  TRY_ASSIGN(source.kernel, read_file(files.kernel, "kernel", limit));
  if (!files.initrd.empty()) {
    source.initrd_name = files.initrd;
    TRY_ASSIGN(source.initrd, read_file(files.initrd, "initrd", limit));
  }
  for (const std::string& text : files.modules) {
    Module module{.bytes = {}, .cmdline = text};
    TRY_ASSIGN(module.bytes, read_file(text.substr(0, text.find(' ')), "module", limit));
    source.modules.push_back(std::move(module));
  }
  return source;
}

}  // namespace nagaya::boot
