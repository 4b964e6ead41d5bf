// Helpers of the block room's tests.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "block/create.hpp"
#include "block/open_image.hpp"

namespace nagaya::block::test {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    // Memory, where there is some: the many flushes then do not wait for a disk, and a kill is not a power cut anyway.
    std::string name = "/dev/shm/nagaya-block-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      name = (std::filesystem::temp_directory_path() / "nagaya-block-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) std::abort();
    }
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline bool have_qemu_img() { return std::system("qemu-img --version >/dev/null 2>&1") == 0; }

/// Exit status of a shell command.
inline int shell(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

template <class T>
std::string why(const Result<T>& result) {
  return result ? std::string("fine") : result.error().message();
}

#define ASSERT_FINE(expr)                                                      \
  do {                                                                         \
    auto&& fine_ = (expr);                                                     \
    ASSERT_TRUE(fine_.has_value()) << ::nagaya::block::test::why(fine_);       \
  } while (0)

inline int write_at(Image& image, u64 offset, const std::vector<u8>& data) {
  return image.write(offset, OneBuffer(data.data(), data.size()));
}
inline std::vector<u8> read_at(Image& image, u64 offset, u64 length) {
  std::vector<u8> out(length, 0xee);
  EXPECT_EQ(image.read(offset, OneBuffer(out.data(), out.size())), 0);
  return out;
}

}  // namespace nagaya::block::test
