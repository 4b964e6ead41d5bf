// Layers' archives, entry by entry: tar, plain or packed by gzip or zstd.
#pragma once
#include <archive.h>
#include <archive_entry.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "image/tree.hpp"

namespace nagaya::image {

/// An open archive that gives its entries in order.
class ArchiveReader {
 public:
  explicit ArchiveReader(const std::string& path);
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;
  ~ArchiveReader() { archive_read_free(archive_); }

  Result<> open();
  /// Null at the end.
  Result<archive_entry*> next();
  /// Number of the entry that next() gave, from 1.
  [[nodiscard]] u64 index() const { return index_; }
  /// The entry's content, in order; holes are left out.
  Result<> content(const std::function<Result<>(u64 offset, std::span<const u8> data)>& sink);

 private:
  [[nodiscard]] std::unexpected<Error> failed() const;
  std::string path_;
  archive* archive_;
  u64 index_ = 0;
};

/// What an entry says of a file, checked; hard links apart.
[[nodiscard]] Result<Node> node_of(archive_entry* entry);

/// "a/b/.wh.c" is folder "a/b/", name "c". A name without the mark gives false.
bool whiteout_of(std::string_view path, std::string& folder, std::string& name);

}  // namespace nagaya::image
