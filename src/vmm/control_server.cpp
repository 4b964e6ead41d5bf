#include "vmm/control_server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "host/apart.hpp"
#include "host/passing.hpp"

namespace nagaya::vmm {

ControlServer::~ControlServer() {
  for (const auto& [fd, client] : clients_) loop_.remove(fd);
  if (listener_) {
    loop_.remove(listener_.get());
    if (host::paths_lead_anywhere()) ::unlink(path_.c_str());
  }
}

Result<> ControlServer::listen(const std::string& path) {
  const mode_t before = ::umask(0177);
  auto made = host::Fd::listen_unix(path);
  ::umask(before);
  if (!made) return std::unexpected(std::move(made.error()));
  listener_ = std::move(*made);
  path_ = path;
  TRY(host::set_nonblocking(listener_.get()));
  return loop_.add(listener_.get(), EPOLLIN, [this](u32) { accept(); });
}

void ControlServer::accept() {
  const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  host::Fd socket(fd);
  if (clients_.size() < most_clients) (void)serve(std::move(socket));
}

Result<> ControlServer::serve(host::Fd socket) {
  const int fd = socket.get();
  TRY(host::set_nonblocking(fd));
  TRY(loop_.add(fd, EPOLLIN, [this, fd](u32) { readable(fd); }));
  clients_.emplace(fd, Client{std::move(socket), {}, {}});
  return {};
}

void ControlServer::readable(int fd) {
  const auto found = clients_.find(fd);
  if (found == clients_.end()) return;
  Client& client = found->second;
  std::array<char, 4096> buffer;
  auto got = host::receive_passing(fd, buffer);
  bool keep = got ? got->bytes > 0 : got.error().code == EAGAIN;
  if (got) {
    client.pending.append(buffer.data(), got->bytes);
    if (got->fd) client.file = std::move(got->fd);
  }
  std::size_t end;
  while (keep && (end = client.pending.find('\n')) != std::string::npos) {
    const std::string line = client.pending.substr(0, end);
    client.pending.erase(0, end + 1);
    if (!line.empty()) keep = answer(client, line);
  }
  if (client.pending.size() > proto::longest_command) keep = false;
  if (keep) return;
  loop_.remove(fd);
  clients_.erase(found);
}

bool ControlServer::answer(Client& client, std::string_view line) {
  const auto command = proto::VmCommand::from_json(line);
  proto::VmAnswer answer;
  if (command) {
    answer = handler_(*command, command->verb == proto::VmCommand::Verb::save ? std::move(client.file) : host::Fd());
  } else {
    answer = {.ok = false, .error = command.error().message()};
  }
  const std::string text = answer.to_json() + "\n";
  const ssize_t sent = ::send(client.socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent == static_cast<ssize_t>(text.size());
}

}  // namespace nagaya::vmm
