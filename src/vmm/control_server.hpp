// Commands over sockets, one JSON object per line (proto/vm_command.hpp), with an open file beside it (SCM_RIGHTS) where the
// command needs one. A client that sends nonsense gets an error; one
// that sends endless lines, or does not read its answers, loses its connection.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/result.hpp"
#include "host/event_loop.hpp"
#include "host/fd.hpp"
#include "proto/vm_command.hpp"

namespace nagaya::vmm {

class ControlServer {
 public:
  using Handler = std::function<proto::VmAnswer(const proto::VmCommand&, host::Fd file)>;
  static constexpr std::size_t most_clients = 16;

  /// `handler` runs on the loop's thread.
  ControlServer(host::EventLoop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {}
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Accepts clients at a new UNIX socket, which only this user may connect to; it is removed at the end.
  Result<> listen(const std::string& path);
  /// Serves a connected socket.
  Result<> serve(host::Fd socket);

 private:
  struct Client {
    host::Fd socket;
    std::string pending;
    host::Fd file;  ///< that came, for the next command that takes one
  };
  void accept();
  void readable(int fd);
  /// False: drop the client.
  bool answer(Client& client, std::string_view line);

  host::EventLoop& loop_;
  const Handler handler_;
  std::string path_;
  host::Fd listener_;
  std::map<int, Client> clients_;
};

}  // namespace nagaya::vmm
