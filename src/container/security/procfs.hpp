// Files of a procfs that is what it looks like: the folder is procfs's own root, no mount lies over anything on the
// way, and no link leads off it. Writes meant for the kernel can thus not be led to other files (CVE-2019-16884,
// CVE-2025-52881).
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// /proc, checked; where there is none, a procfs of our own that is mounted nowhere.
Result<host::Fd> open_procfs();
/// A file beneath it, "self/oom_score_adj".
Result<host::Fd> open_proc_file(const host::Fd& procfs, const std::string& path, int flags);
/// Opens, writes all in one write(2), closes.
Result<> write_proc_file(const host::Fd& procfs, const std::string& path, std::string_view text);

}  // namespace nagaya::container
