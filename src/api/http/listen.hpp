// Sockets to listen on.
#pragma once
#include <string>
#include <vector>

#include "host/fd.hpp"

namespace nagaya::api {

struct Listening {
  std::vector<host::Fd> unix_sockets{}, tcp_sockets{};
  bool inherited = false;  ///< they were there before us
};

/// Sockets that systemd holds ready for us. Source: sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, from descriptor 3 on.
[[nodiscard]] Result<Listening> inherited_sockets();
/// At `path`, for its owner alone, or for a group too (-1: none). The folder is made when it is missing.
[[nodiscard]] Result<host::Fd> listen_local(const std::string& path, int group);
/// "ADDRESS:PORT", "[ADDRESS]:PORT".
[[nodiscard]] Result<host::Fd> listen_tcp(const std::string& where);
/// Tells systemd how it goes ("READY=1"). Source: sd_notify(3): a datagram to NOTIFY_SOCKET. Nothing when there is none.
void notify_manager(const std::string& state);
/// A certificate of our own making for a server that was given none: key and certificate in `folder`, made when they are missing.
/// Clients are told its fingerprint, or take the file as their CA.
struct OwnCertificate {
  std::string certificate, key, fingerprint;
};
[[nodiscard]] Result<OwnCertificate> own_certificate(const std::string& folder);

}  // namespace nagaya::api
