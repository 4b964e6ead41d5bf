#include "block/foreign_image.hpp"

#include <fmt/format.h>
#include <libvhdi.h>
#include <libvmdk.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "base/scope.hpp"
#include "block/bytes.hpp"

namespace nagaya::block {
namespace {

// What both kinds share: a size, and reads one at a time, for the libraries are not made for several.
class ForeignImage : public Image {
 public:
  u64 size() const override { return round_up(bytes_, sector_size); }
  Capabilities capabilities() const override { return {.read_only = true}; }
  int read(u64 offset, Iov iov) override {
    const std::lock_guard lock(mutex_);
    for (const iovec& part : iov) {
      for (u64 done = 0; done < part.iov_len;) {
        if (offset >= bytes_) {
          iov_zero(OneBuffer(static_cast<u8*>(part.iov_base) + done, part.iov_len - done), 0, part.iov_len - done);
          offset += part.iov_len - done;
          break;
        }
        const u64 count = std::min<u64>(part.iov_len - done, bytes_ - offset);
        const ssize_t got = read_some(static_cast<u8*>(part.iov_base) + done, count, offset);
        if (got <= 0 || static_cast<u64>(got) > count) return EIO;
        done += static_cast<u64>(got);
        offset += static_cast<u64>(got);
      }
    }
    return 0;
  }
  int write(u64, Iov) override { return EROFS; }
  int write_zeroes(u64, u64, bool) override { return EROFS; }
  int discard(u64, u64) override { return EROFS; }
  int flush() override { return 0; }
  Result<> resize(u64) override { return fail("cannot resize an image that is only imported"); }
  Result<Extent> map(u64, u64 length) override { return Extent{length, Extent::Kind::data}; }
  Result<> close() override { return {}; }

 protected:
  virtual ssize_t read_some(void* to, u64 count, u64 offset) = 0;
  u64 bytes_ = 0;

 private:
  std::mutex mutex_;
};

std::unexpected<Error> refused(const std::string& path, const char* kind, std::string why) {
  return fail(fmt::format("cannot read {} image '{}'", kind, path), std::move(why));
}

class VmdkImage final : public ForeignImage {
 public:
  ~VmdkImage() override { libvmdk_handle_free(&handle_, nullptr); }

  Result<> open(const std::string& path) {
    auto bad = [&](std::string why) { return refused(path, "VMDK", std::move(why)); };
    if (libvmdk_handle_initialize(&handle_, nullptr) != 1) return bad("no memory");
    if (libvmdk_handle_open(handle_, path.c_str(), LIBVMDK_OPEN_READ, nullptr) != 1) return bad("it is damaged, or no VMDK image");
    std::size_t parent = 0;
    if (libvmdk_handle_get_utf8_parent_filename_size(handle_, &parent, nullptr) == 1 && parent > 1) return bad("it has a parent image");
    int extents = 0;
    if (libvmdk_handle_get_number_of_extents(handle_, &extents, nullptr) != 1 || extents > 1024) return bad("its extents cannot be read");
    for (int i = 0; i < extents; ++i) TRY(check_extent(path, i));
    if (libvmdk_handle_open_extent_data_files(handle_, nullptr) != 1) return bad("its data cannot be opened");
    if (libvmdk_handle_get_media_size(handle_, &bytes_, nullptr) != 1 || bytes_ >> 62) return bad("its size cannot be read");
    return {};
  }

 private:
  // Data may only be in plain files beside the image.
  Result<> check_extent(const std::string& path, int index) {
    auto bad = [&](std::string why) { return refused(path, "VMDK", std::move(why)); };
    libvmdk_extent_descriptor_t* extent = nullptr;
    if (libvmdk_handle_get_extent_descriptor(handle_, index, &extent, nullptr) != 1) return bad("its extents cannot be read");
    const ScopeExit cleanup([&] { libvmdk_extent_descriptor_free(&extent, nullptr); });
    std::size_t size = 0;
    const int known = libvmdk_extent_descriptor_get_utf8_filename_size(extent, &size, nullptr);
    if (known == 0 || size == 0) return {};  // a range of zeroes
    if (known != 1 || size > 1024) return bad("the name of its data file is damaged");
    std::string name(size, '\0');
    if (libvmdk_extent_descriptor_get_utf8_filename(extent, reinterpret_cast<u8*>(name.data()), size, nullptr) != 1) {
      return bad("the name of its data file is damaged");
    }
    name.resize(name.find('\0'));
    if (name.find_first_of("/\\") != std::string::npos || name == "." || name == "..") {
      return bad(fmt::format("its data file '{}' is not beside it", name));
    }
    const std::size_t slash = path.rfind('/');
    const std::string beside = slash == std::string::npos ? name : path.substr(0, slash + 1) + name;
    struct stat info {};
    if (::lstat(beside.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) return bad(fmt::format("its data file '{}' is no plain file", name));
    return {};
  }
  ssize_t read_some(void* to, u64 count, u64 offset) override {
    return libvmdk_handle_read_buffer_at_offset(handle_, to, count, static_cast<off64_t>(offset), nullptr);
  }
  libvmdk_handle_t* handle_ = nullptr;
};

class VhdImage final : public ForeignImage {
 public:
  ~VhdImage() override { libvhdi_file_free(&file_, nullptr); }

  Result<> open(const std::string& path) {
    auto bad = [&](std::string why) { return refused(path, "VHD", std::move(why)); };
    if (libvhdi_file_initialize(&file_, nullptr) != 1) return bad("no memory");
    if (libvhdi_file_open(file_, path.c_str(), LIBVHDI_OPEN_READ, nullptr) != 1) return bad("it is damaged, or neither VHD nor VHDX");
    u32 type = 0;
    if (libvhdi_file_get_disk_type(file_, &type, nullptr) != 1) return bad("its type cannot be read");
    if (type == LIBVHDI_DISK_TYPE_DIFFERENTIAL) return bad("it has a parent image");
    if (libvhdi_file_get_media_size(file_, &bytes_, nullptr) != 1 || bytes_ >> 62) return bad("its size cannot be read");
    return {};
  }

 private:
  ssize_t read_some(void* to, u64 count, u64 offset) override {
    return libvhdi_file_read_buffer_at_offset(file_, to, count, static_cast<off64_t>(offset), nullptr);
  }
  libvhdi_file_t* file_ = nullptr;
};

template <class T>
Result<std::unique_ptr<Image>> opened(const std::string& path) {
  auto image = std::make_unique<T>();
  TRY(image->open(path));
  return image;
}

}  // namespace

Result<std::unique_ptr<Image>> open_vmdk(const std::string& path) { return opened<VmdkImage>(path); }
Result<std::unique_ptr<Image>> open_vhd(const std::string& path) { return opened<VhdImage>(path); }

}  // namespace nagaya::block
