// A Unix socket that one client at a time connects to.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/char_backend.hpp"
#include "devices/stream_backend.hpp"
#include "host/apart.hpp"

namespace nagaya::devices {
namespace {

class SocketBackend final : public CharBackend {
 public:
  static Result<std::unique_ptr<CharBackend>> create(host::EventLoop& loop, const std::string& path) {
    std::unique_ptr<SocketBackend> self(new SocketBackend(loop, path));
    TRY_ASSIGN(self->listener_, host::Fd::listen_unix(path));
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) self->inode_ = info.st_ino;
    TRY(host::set_nonblocking(self->listener_.get()));
    SocketBackend* raw = self.get();
    // After a client has gone, the next one may come.
    TRY_ASSIGN(self->stream_, StreamBackend::create(loop, StreamBackend::WhenFull::push_back, path, [raw] {
                 (void)raw->loop_.modify(raw->listener_.get(), EPOLLIN);
               }));
    TRY(loop.add(self->listener_.get(), EPOLLIN, [raw](u32) { raw->on_client(); }));
    return self;
  }

  ~SocketBackend() override {
    if (listener_) loop_.remove(listener_.get());
    stream_.reset();
    // Only what is still ours: someone else may listen at that path by now.
    struct stat info {};
    if (inode_ != 0 && host::paths_lead_anywhere() && ::stat(path_.c_str(), &info) == 0 && info.st_ino == inode_) (void)::unlink(path_.c_str());
  }

  std::size_t write(std::span<const u8> data) override { return stream_->write(data); }
  void attach(CharReceiver* receiver) override { stream_->attach(receiver); }
  void input_room() override { stream_->input_room(); }
  void drain(unsigned timeout_ms) override { stream_->drain(timeout_ms); }
  std::string where() const override { return path_; }

 private:
  SocketBackend(host::EventLoop& loop, std::string path) : loop_(loop), path_(std::move(path)) {}

  void on_client() {
    host::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) return;
    (void)loop_.modify(listener_.get(), 0);  // others wait in the queue meanwhile
    if (!stream_->connect_both(std::move(client))) (void)loop_.modify(listener_.get(), EPOLLIN);
  }

  host::EventLoop& loop_;
  const std::string path_;
  ino_t inode_ = 0;
  host::Fd listener_;
  std::unique_ptr<StreamBackend> stream_;
};

}  // namespace

Result<std::unique_ptr<CharBackend>> socket_backend(host::EventLoop& loop, const std::string& path) {
  return SocketBackend::create(loop, path);
}

}  // namespace nagaya::devices
