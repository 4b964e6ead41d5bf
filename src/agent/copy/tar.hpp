// Tar streams as entries and content, by libarchive.
#pragma once
#include <functional>
#include <memory>

#include "agent/walk.hpp"

struct archive;

namespace nagaya::agent {

/// Writes entries as a tar stream (pax where needed) to a descriptor.
class TarWriter {
 public:
  static Result<TarWriter> to(int fd);
  TarWriter(TarWriter&&) = default;
  Result<> begin(const Entry& entry);
  Result<> content(std::span<const u8> bytes);
  Result<> finish();

 private:
  struct Free {
    void operator()(archive* a) const;
  };
  TarWriter() = default;
  std::unique_ptr<archive, Free> archive_;
};

/// Reads a tar stream and tells it as frames. Names that lead elsewhere are an error; hard links, devices and pipes are left
/// out with a warning.
Result<> read_tar(int fd, const TreeSink& sink);

}  // namespace nagaya::agent
