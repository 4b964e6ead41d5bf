// Paths inside a root that somebody hostile may have filled, and may be changing.
#pragma once
#include <string>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// The path without empty parts, "." and "..", beginning with '/': "/a/../../b//" is "/b".
std::string clean_path(const std::string& path);

/// O_PATH descriptor of what `path` is inside `root` (RESOLVE_IN_ROOT, no magic links). ENOENT, ELOOP … in the error's code. `links`:
/// false refuses any symbolic link on the way.
Result<host::Fd> find_in_root(int root, const std::string& path, bool links = true);

/// Kinds of things a descriptor names.
bool is_folder(int fd);
/// statfs's f_type.
long file_system_of(int fd);

}  // namespace nagaya::container
