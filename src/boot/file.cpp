// Reading the files of a boot.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>

#include "boot/boot.hpp"

namespace nagaya::boot {

struct OpenBootFiles::File {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{nullptr, std::fclose};
  std::string path, text;  // text: of a module
  const char* role = "";
  /// Its bytes were taken once and cannot be taken again, since it is a pipe.
  mutable bool read = false;
};

OpenBootFiles::OpenBootFiles() = default;
OpenBootFiles::OpenBootFiles(OpenBootFiles&&) noexcept = default;
OpenBootFiles& OpenBootFiles::operator=(OpenBootFiles&&) noexcept = default;
OpenBootFiles::~OpenBootFiles() = default;

namespace {

constexpr std::size_t step = 4 * MiB;

Result<std::vector<u8>> read_file(std::FILE* file, const std::string& name, u64 limit) {
  std::vector<u8> bytes;
  // Read until the end rather than by the size: the path may be a pipe, and a size may change. It saves moving, though.
  struct stat info {};
  if (::fstat(fileno(file), &info) == 0 && static_cast<u64>(info.st_size) <= limit) bytes.reserve(static_cast<u64>(info.st_size) + step);
  for (;;) {
    const std::size_t at = bytes.size();
    bytes.resize(at + step);
    const std::size_t got = std::fread(bytes.data() + at, 1, step, file);
    bytes.resize(at + got);
    if (std::ferror(file)) return fail_errno(fmt::format("cannot read the {}", name));
    if (bytes.size() > limit) {
      return fail(fmt::format("cannot use the {}", name), fmt::format("it is larger than the guest's memory ({} MiB)", limit / MiB),
                  "give the guest more memory, or check that this is the right file");
    }
    if (got < step) break;
  }
  if (bytes.empty()) return fail(fmt::format("cannot use the {}", name), "the file is empty");
  return bytes;
}

}  // namespace

Result<OpenBootFiles> OpenBootFiles::open(const BootFiles& files) {
  OpenBootFiles out;
  out.cmdline_ = files.cmdline;
  const auto add = [&](const char* role, const std::string& path, const std::string& text) -> Result<> {
    File file{.path = path, .text = text, .role = role};
    if (!path.empty() || out.files_.size() != 1) {
      file.file.reset(std::fopen(path.c_str(), "rbe"));
      if (!file.file) return fail_errno(fmt::format("cannot open the {} '{}'", role, path));
      std::setvbuf(file.file.get(), nullptr, _IONBF, 0);
    }
    out.files_.push_back(std::move(file));
    return {};
  };
  TRY(add("kernel", files.kernel, {}));
  TRY(add("initrd", files.initrd, {}));
  for (const std::string& text : files.modules) TRY(add("module", text.substr(0, text.find(' ')), text));
  return out;
}

Result<BootSource> OpenBootFiles::read(u64 limit) const {
  const auto bytes_of = [limit](const File& file) -> Result<std::vector<u8>> {
    if (!file.file) return {};
    const std::string name = fmt::format("{} '{}'", file.role, file.path);
    if (file.read && std::fseek(file.file.get(), 0, SEEK_SET) != 0) return fail_errno(fmt::format("cannot read the {} again", name));
    file.read = true;
    return read_file(file.file.get(), name, limit);
  };
  BootSource source;
  source.cmdline = cmdline_;
  source.kernel_name = files_[0].path;
  TRY_ASSIGN(source.kernel, bytes_of(files_[0]));
  source.initrd_name = files_[1].path.empty() ? source.initrd_name : files_[1].path;
  TRY_ASSIGN(source.initrd, bytes_of(files_[1]));
  for (std::size_t i = 2; i < files_.size(); ++i) {
    Module module{.bytes = {}, .cmdline = files_[i].text};
    TRY_ASSIGN(module.bytes, bytes_of(files_[i]));
    source.modules.push_back(std::move(module));
  }
  return source;
}

Result<BootSource> read_boot_source(const BootFiles& files, u64 limit) {
  TRY_ASSIGN(const OpenBootFiles open, OpenBootFiles::open(files));
  return open.read(limit);
}

}  // namespace nagaya::boot
