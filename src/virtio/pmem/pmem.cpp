#include "virtio/pmem/pmem.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "bus/bytes.hpp"

namespace nagaya::virtio {
namespace {

// 5.19.4 and 5.19.6.
constexpr u64 at_start = 0, at_size = 8, config_size = 16;
constexpr u32 request_flush = 0;
constexpr u32 answer_good = 0, answer_failed = ~u32{0};

/// An open file description's lock, over the whole file.
Result<> lock(int fd, const std::string& context, bool write) {
  struct flock range {};
  range.l_type = write ? F_WRLCK : F_RDLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) return fail(context, "it is in use by another machine", "end that one, or use readonly=on in both");
  return fail_errno(context);
}

}  // namespace

Result<PmemFile> PmemFile::open(const std::string& path, bool read_only) {
  const std::string context = fmt::format("cannot use '{}' as persistent memory", path);
  PmemFile out;
  out.read_only = read_only;
  TRY_ASSIGN(out.fd, host::Fd::open(path, read_only ? O_RDONLY : O_RDWR));
  struct stat info{};
  if (::fstat(out.fd.get(), &info) != 0) return fail_errno(context);
  if (!S_ISREG(info.st_mode)) return fail(context, "it is no regular file");
  out.file_size = static_cast<u64>(info.st_size);
  out.size = (out.file_size + alignment - 1) / alignment * alignment;
  if (out.size == 0) return fail(context, "it is empty", fmt::format("give it a size: truncate -s 64M {}", path));
  if (out.size != out.file_size && !read_only) {
    return fail(context, fmt::format("its size, {} bytes, is no multiple of 2 MiB", out.file_size),
                fmt::format("truncate -s %2M {}, or readonly=on", path));
  }
  TRY(lock(out.fd.get(), context, !read_only));
  if (!read_only && ::fallocate(out.fd.get(), 0, 0, info.st_size) != 0 && errno != EOPNOTSUPP) return fail_errno(context);
  return out;
}

Pmem::Pmem(std::string name, memory::GuestMemory& memory, PmemFile file, Gpa start)
    : VirtioDevice(std::move(name), type::pmem, memory, {64}), file_(std::move(file)), start_(start), worker_("virtio-pmem", [this](unsigned) {
        serve_all(0, chain_, [this](const Chain& chain) { return serve(chain); });
      }, 1) {}

Pmem::~Pmem() { stop(); }

void Pmem::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, config_size> image{};
  bus::store_le(std::span(image).subspan(at_start, 8), start_.value);
  bus::store_le(std::span(image).subspan(at_size, 8), file_.size);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset < config_size && offset + i < config_size ? image[offset + i] : u8{0};
}

void Pmem::save_state(state::Writer& out) const {
  out.put(start_.value);
  out.put(file_.size);
  out.put(file_.read_only);
}

void Pmem::restore_state(state::Reader& in) {
  const u64 start = in.get<u64>(), size = in.get<u64>();
  const bool read_only = in.get<bool>();
  if (start != start_.value || size != file_.size || read_only != file_.read_only) {
    in.reject("the file of its persistent memory has another size or place now");
  }
}

std::optional<u64> Pmem::serve(const Chain& chain) {
  u32 kind = 0;
  if (!chain.read_value(0, kind) || chain.writable_bytes < sizeof(u32)) {
    broken("a flush request without type or room for its answer");
    return 0;
  }
  // What a guest wrote to read-only memory went nowhere: it must not believe that it is safe.
  const bool good = kind == request_flush && !file_.read_only && ::fdatasync(file_.fd.get()) == 0;
  std::array<u8, sizeof(u32)> answer{};
  bus::store_le(answer, good ? answer_good : answer_failed);
  return chain.write(0, answer);
}

}  // namespace nagaya::virtio
