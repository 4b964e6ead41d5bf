// A FUSE server over one folder of the host, confined to it: requests come as buffers of a client's memory, replies go there.
// It knows nothing of how they are carried.
#pragma once
#include <sys/uio.h>

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "state/archive.hpp"

namespace nagaya::fuse {

struct Session;

struct ServerConfig {
  std::string path;
  bool read_only = false;
  u64 descriptors = 4096;  ///< that it may hold at most, for nodes and open files together
};

/// Raises this process's limit of open files as far as it may; returns the limit.
u64 raise_descriptor_limit();

class Server {
 public:
  static Result<std::unique_ptr<Server>> open(const ServerConfig& config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves one request; thread-safe. `in` is what the client wrote, `out` the room for a reply; at most 1024 buffers each.
  /// Returns the length of the reply, 0 when the request has none, or nothing when it is no request at all: shorter
  /// than a header, or without room for the reply that it asks for.
  [[nodiscard]] std::optional<u64> serve(std::span<const iovec> in, std::span<const iovec> out);

  // No request may be under way in these.
  /// As if no client had ever been there.
  void reset();
  /// Nodes by the paths that they have now, and open files. What has no path below the folder any more is saved as lost.
  void save(state::Writer& out) const;
  /// Nonsense is told through in.reject(). What is no longer there answers ESTALE.
  void restore(state::Reader& in);
  /// Nodes and open files that the last restore() did not find again.
  [[nodiscard]] u64 lost() const { return lost_; }

 private:
  explicit Server(std::unique_ptr<Session> session);
  const std::unique_ptr<Session> session_;
  u64 lost_ = 0;
};

}  // namespace nagaya::fuse
