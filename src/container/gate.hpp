// The gate a created container waits at: a listening socket ROOT/ID/gate. `start` connects and says go; the connection
// closes by itself when execve works, and carries the error when it does not. That somebody listens *is* the state
// "created": no note of it can be wrong.
#pragma once
#include "base/result.hpp"
#include "container/folder.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

Result<host::Fd> make_gate(const Folder& folder);
/// ECONNREFUSED or ENOENT: nobody waits there (any more). EAGAIN: somebody does, but cannot answer now.
Result<host::Fd> knock(const Folder& folder);

}  // namespace nagaya::container
