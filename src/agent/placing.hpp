// Writes files, links and folders below one folder of this machine, and nowhere else: paths are resolved by the kernel
// beneath it without following links (openat2), and the names of links are replaced, never followed. For what the other
// side of a copy sends, which is not trusted.
#pragma once
#include "agent/protocol.hpp"
#include "host/fd.hpp"

namespace nagaya::agent {

class Placing {
 public:
  /// Into the folder `path` under `name`, or, when there is no such folder, as `path` itself. An empty name: the entries
  /// lie in the folder `path` itself.
  static Result<Placing> at(const std::string& path, const std::string& name);
  Placing(Placing&&) = default;
  Placing& operator=(Placing&&) = delete;
  ~Placing();

  Result<> begin(const Entry& entry);
  /// Bytes of the file begun last.
  Result<> content(std::span<const u8> bytes);
  /// Folders get their modes and times.
  Result<> finish();

 private:
  struct Folder {
    std::string path;
    Entry entry;
  };
  Placing(host::Fd root, std::string base);
  [[nodiscard]] std::string what() const { return "cannot write '" + path_ + "'"; }
  Result<host::Fd> folder_at(const std::string& path);
  Result<> make_folder();
  Result<> make_link();
  Result<> finish_file();
  Result<> take_place();

  host::Fd root_, parent_, file_;
  std::string base_, path_, name_, temporary_;
  Entry entry_;
  u64 left_ = 0;
  std::vector<Folder> folders_;
};

}  // namespace nagaya::agent
