#include "cli/signal_save.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>

#include "proto/vm_command.hpp"
#include "host/passing.hpp"

namespace nagaya::cli {

Result<SignalSave> SignalSave::create(std::string path, bool then_exit) {
  SignalSave out;
  out.path_ = std::move(path);
  out.then_exit_ = then_exit;
  TRY_ASSIGN(auto ends, host::Fd::socketpair());
  out.socket_ = std::move(ends.first);
  out.other_end_ = std::move(ends.second);
  return out;
}

Result<> SignalSave::begin() {
  if (path_.empty()) return fail("SIGUSR1: no file to save to was given", {}, "--save-on-signal FILE");
  if (file_ || !socket_) return {};
  auto file = host::NewFile::create(path_);
  if (!file) return std::unexpected(std::move(file.error()).within(fmt::format("cannot save to '{}'", path_)));
  const proto::VmCommand command{.verb = proto::VmCommand::Verb::save, .file = path_, .then_exit = then_exit_};
  TRY(host::send_with_file(socket_.get(), command.to_json() + "\n", file->fd()));
  file_.emplace(std::move(*file));
  return {};
}

Result<std::optional<std::string>> SignalSave::proceed() {
  char buffer[4096];
  const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got <= 0) {  // it has ended
    socket_.reset();
    file_.reset();
    return {};
  }
  answer_.append(buffer, static_cast<std::size_t>(got));
  const auto end = answer_.find('\n');
  if (end == std::string::npos) return {};
  const std::string line = answer_.substr(0, end);
  answer_.erase(0, end + 1);
  std::optional<host::NewFile> file;
  if (file_) file.emplace(std::move(*file_));
  file_.reset();
  TRY_ASSIGN(const auto answer, proto::VmAnswer::from_json(line));
  if (!answer.ok) return fail(answer.error);
  if (!file) return {};
  TRY(file->commit());
  return fmt::format("saved the machine to '{}'", path_);
}

}  // namespace nagaya::cli
