// Small files and mounts, as the first process of a guest needs them.
#pragma once
#include <string>

#include "base/result.hpp"

namespace nagaya::init {

/// A whole file of at most 1 MiB.
[[nodiscard]] Result<std::string> read_text(const std::string& path);
/// Replaces the file's content.
[[nodiscard]] Result<> write_text(const std::string& path, const std::string& text);
/// mount(2); makes the folder when it is not there. `data` are options of the file system.
[[nodiscard]] Result<> mount_at(const std::string& source, const std::string& place, const std::string& type, unsigned long flags = 0,
                                const std::string& data = {});
/// With all folders above it.
[[nodiscard]] Result<> make_folder(const std::string& path);

}  // namespace nagaya::init
