// Keys of the caller's session are not the container's. Source: keyctl(2), session-keyring(7).
#pragma once
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace nagaya::container {

/// Leaves the caller's session keyring for the container's own, which is made when it is not there. Kernels without keys, or with the
/// quota used up, go on without.
inline void new_keyring(const std::string& id) {
  constexpr long join_session_keyring = 1;  // KEYCTL_JOIN_SESSION_KEYRING
  (void)::syscall(SYS_keyctl, join_session_keyring, ("_ses." + id).c_str());
}

}  // namespace nagaya::container
