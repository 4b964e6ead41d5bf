// Memory that follows a restored container: `criu lazy-pages` fetches it from the dump, which serves it while the source stands still.
// Source: criu.org "Lazy migration", userfaultfd(2).
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/checkpoint/criu.hpp"
#include "host/process.hpp"

namespace nagaya::container {

/// What serving pages needs here, and fetching them; the error names exactly what is missing.
Result<> can_serve_lazy_pages(const criu::Program& program);
Result<> can_fetch_lazy_pages(const criu::Program& program);

/// Starts `criu lazy-pages` over `images` (a folder; its socket for the restore is made there) and returns when it can be restored from.
/// Pages come over `socket`. It ends, well, when all are there.
Result<host::Process> fetch_lazy_pages(const criu::Program& program, const std::string& images, int socket);

/// What it asks the other end for: requests of this size, the first number being what for, the others a count and places (CRIU's page_server_iov).
inline constexpr std::size_t page_request_size = 32;
/// The request that ends it; the answer is a number of 4 bytes, 0.
bool is_end_of_pages(std::string_view request);

}  // namespace nagaya::container
