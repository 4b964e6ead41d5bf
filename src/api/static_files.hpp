// The web console's files, read once: no path of a request ever reaches the file system.
#pragma once
#include <map>
#include <string>

#include "api/message.hpp"

namespace nagaya::api {

class StaticFiles {
 public:
  StaticFiles() = default;
  /// All regular files below `folder` (links are left out); more than 64 MiB or 4096 files is an error.
  static Result<StaticFiles> load(const std::string& folder);
  [[nodiscard]] bool empty() const { return files_.empty(); }
  /// The file of a path; a path without one that looks like a page of the console gets index.html. Status 404.
  [[nodiscard]] Reply get(const std::string& path, const std::string& if_none_match) const;

 private:
  struct File {
    std::string content, type, etag;
    bool forever = false;  // its name changes with its content
  };
  std::map<std::string, File> files_;
};

/// Whether a list of entity tags ("*", or quoted ones; W/ is passed over) names this one.
[[nodiscard]] bool names_etag(std::string_view list, std::string_view etag);
/// A quoted entity tag for these bytes.
[[nodiscard]] std::string etag_of(std::string_view bytes);

}  // namespace nagaya::api
