// Where Nagaya keeps things: system folders for root, XDG folders (XDG Base Directory Specification 0.8) for others. None
// is created here.
#pragma once
#include <string>

#include "base/result.hpp"

namespace nagaya::host {

/// Refuses a variable of our own that names no absolute path: processes of ours work in other folders than who set it.
[[nodiscard]] Result<> check_dirs();
/// Images, volumes, networks, disks of machines: $NAGAYA_STATE_DIR, /var/lib/nagaya, or $XDG_STATE_HOME/nagaya.
[[nodiscard]] std::string state_dir();
/// Sockets of what runs now: $NAGAYA_RUNTIME_DIR, /run/nagaya, or $XDG_RUNTIME_DIR/nagaya (/tmp/nagaya-UID without it).
/// A running machine has <runtime>/vm/NAME/ with control.sock and vsock.sock.
[[nodiscard]] std::string runtime_dir();
/// What can be fetched again: $NAGAYA_CACHE_DIR, /var/cache/nagaya, or $XDG_CACHE_HOME/nagaya.
[[nodiscard]] std::string cache_dir();

}  // namespace nagaya::host
