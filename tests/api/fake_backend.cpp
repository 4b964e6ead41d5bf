#include "fake_backend.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <thread>

#include "api/text.hpp"
#include "fake_terminal.hpp"

namespace nagaya::api::test {
namespace {

using namespace std::chrono_literals;

std::unexpected<Error> missing(const char* what, const std::string& name) {
  return std::unexpected(Error{fmt::format("there is no {} '{}'", what, name), {}, {}, ENOENT});
}
std::unexpected<Error> conflict(std::string what) { return std::unexpected(Error{std::move(what), {}, {}, EBUSY}); }

Result<Json> values_of(const std::map<std::string, Json>& all) {
  Json out = Json::array();
  for (const auto& [name, value] : all) out.push_back(value);
  return out;
}

}  // namespace

FakeBackend::FakeBackend() {
  images_["debian:latest"] = {{"id", std::string(64, 'd')}, {"name", "debian:latest"}, {"kind", "disk"}, {"size", 900000000}, {"created", now_text()}};
  images_["alpine:latest"] = {{"id", std::string(64, 'a')}, {"name", "alpine:latest"}, {"kind", "oci"}, {"size", 8000000}, {"created", now_text()}};
  networks_["default"] = {{"name", "default"}, {"kind", "user"}, {"subnet", "10.0.2.0/24"}, {"internal", false}};
  volumes_["data"] = {{"name", "data"}, {"created", now_text()}, {"project", "default"}};
  const auto add = [&](const char* name, const char* kind, const char* image, const char* project, const char* state) {
    Fake fake{.definition = {{"name", name}, {"kind", kind}, {"image", image}, {"project", project}, {"limits", {{"memory", 512 * MiB}, {"cpus", 1}}}},
              .state = state,
              .id = fmt::format("{:016x}", ++made_),
              .created = now_text(),
              .since = std::chrono::steady_clock::now()};
    fake.log = fmt::format("{} says hello\nsecond line\nthird line\n", name);
    if (fake.state == "running") fake.started = now_text();
    fakes_[name] = std::move(fake);
  };
  add("web", "vm", "debian:latest", "default", "running");
  add("db", "container", "alpine:latest", "default", "running");
  add("old", "container", "alpine:latest", "default", "stopped");
  add("theirs", "container", "alpine:latest", "other", "running");
}

Result<Json> FakeBackend::info() {
  return Json{{"version", "0"},
              {"host", {{"name", "fake"}, {"kernel", "6.0"}, {"cpus", 2}, {"load", {0.5, 0.4, 0.3}}, {"memoryTotal", 8 * GiB}, {"memoryAvailable", 4 * GiB}}},
              {"engines", Json::array({{{"name", "kvm"}, {"usable", false}, {"chosen", false}, {"reason", "a fake host"}},
                                       {{"name", "soft"}, {"usable", true}, {"chosen", true}, {"reason", "the other is not usable"}}})},
              {"ksm", {{"running", true}, {"pagesShared", 10}, {"pagesSharing", 100}, {"savedBytes", 409600}}}};
}

void FakeBackend::watch(EventSink sink) {
  const std::lock_guard lock(sink_mutex_);
  sink_ = std::move(sink);
}
void FakeBackend::unwatch() { watch({}); }

void FakeBackend::tell(const std::string& kind, const std::string& name, const Fake& fake) {
  const std::lock_guard lock(sink_mutex_);
  if (sink_) sink_({{"kind", kind}, {"domain", name}, {"project", fake.definition.value("project", "default")}});
}

Json FakeBackend::shown(const std::string& name, const Fake& fake) const {
  const Json& d = fake.definition;
  Json out = {{"name", name}, {"id", fake.id}, {"kind", d.value("kind", "container")}, {"state", fake.state}, {"image", d.value("image", "")},
              {"project", d.value("project", "default")}, {"created", fake.created}, {"restarts", 0}};
  if (!fake.started.empty()) out["started"] = fake.started;
  if (!fake.finished.empty()) out["finished"] = fake.finished, out["exitCode"] = fake.exit_code;
  for (const char* key : {"labels", "limits"}) {
    if (d.contains(key)) out[key] = d[key];
  }
  if (fake.state == "running") out["addresses"] = {"10.0.2.15"};
  return out;
}

Result<FakeBackend::Fake*> FakeBackend::find(const std::string& name) {
  const auto found = fakes_.find(name);
  if (found == fakes_.end()) return missing("domain", name);
  return &found->second;
}

Result<Json> FakeBackend::list() {
  const std::lock_guard lock(mutex_);
  Json out = Json::array();
  for (const auto& [name, fake] : fakes_) out.push_back(shown(name, fake));
  return out;
}

Result<Json> FakeBackend::get(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  Json out = shown(name, *fake);
  out["definition"] = fake->definition;
  return out;
}

Result<std::string> FakeBackend::project(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  return fake->definition.value("project", "default");
}

Result<std::string> FakeBackend::fresh_name(const Json& definition) {
  const std::lock_guard lock(mutex_);
  return fmt::format("{}-{}", definition.value("kind", "container"), ++made_);
}

Result<> FakeBackend::create(const Json& definition, Task& task) {
  task.progress(0.5, "making its disk");
  const std::lock_guard lock(mutex_);
  const std::string name = definition["name"];
  if (fakes_.contains(name)) return std::unexpected(Error{"there is one already", {}, {}, EEXIST});
  const std::string image = definition["image"];
  if (!images_.contains(image) && !images_.contains(image + ":latest")) return missing("image", image);
  Fake fake{.definition = definition, .id = fmt::format("{:016x}", ++made_), .created = now_text()};
  if (!fake.definition.contains("kind")) fake.definition["kind"] = "container";
  tell("created", name, fake);
  fakes_[name] = std::move(fake);
  return {};
}

Result<> FakeBackend::update(const std::string& name, const Json& update) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  fake->definition.merge_patch(update);
  tell("updated", name, *fake);
  return {};
}

Result<Json> FakeBackend::plan(const Json& document) {
  const std::lock_guard lock(mutex_);
  const auto found = fakes_.find(document["name"]);
  if (found == fakes_.end()) return Json{{"action", "create"}, {"changes", Json::array()}};
  Json changes = Json::array();
  bool restart = false;
  for (const auto& [field, value] : document.items()) {
    if (found->second.definition.value(field, Json()) == value) continue;
    const bool live = field == "limits" || field == "labels" || found->second.state != "running";
    restart = restart || !live;
    changes.push_back({{"field", field}, {"to", value}, {"needs", live ? "nothing" : "restart"}});
  }
  return Json{{"action", changes.empty() ? "none" : restart ? "restart" : "change"}, {"changes", changes}};
}

Result<> FakeBackend::apply(const Json& document, const ApplyFlags& flags, Task& task) {
  TRY_ASSIGN(const Json plan, this->plan(document));
  if (plan["action"] == "create") return create(document, task);
  if (plan["action"] == "restart" && !flags.restart) return conflict("it must be restarted");
  const std::lock_guard lock(mutex_);
  fakes_[document["name"]].definition = document;
  return {};
}

Result<> FakeBackend::remove(const std::string& name, bool force, Task&) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  if (!force && (fake->state == "running" || fake->state == "paused")) return conflict(fmt::format("'{}' runs", name));
  tell("removed", name, *fake);
  fakes_.erase(name);
  return {};
}

Result<> FakeBackend::act(const std::string& name, Verb verb, const Json& action, Task& task) {
  if (verb == Verb::stop || verb == Verb::restart) {
    // A guest that needs its time: a second for every second it is given, at most two.
    const int steps = std::min(action.value("timeout", 0), 2) * 20;
    for (int i = 0; i < steps; i++) {
      if (task.stop().stop_requested()) return std::unexpected(Error{"cancelled", {}, {}, ECANCELED});
      task.progress(static_cast<double>(i) / steps, "waiting for the guest");
      std::this_thread::sleep_for(50ms);
    }
  }
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  const bool runs = fake->state == "running" || fake->state == "paused";
  const auto end = [&](int code) {
    fake->state = "stopped";
    fake->finished = now_text();
    fake->exit_code = code;
    tell("stopped", name, *fake);
  };
  const auto begin = [&] {
    fake->state = "running";
    fake->started = now_text();
    fake->since = std::chrono::steady_clock::now();
    fake->starts++;
    fake->log += fmt::format("{} started\n", name);
    tell("started", name, *fake);
  };
  switch (verb) {
    case Verb::start:
      if (runs) return conflict(fmt::format("'{}' runs already", name));
      begin();
      return {};
    case Verb::restart:
      if (runs) end(0);
      begin();
      return {};
    case Verb::stop:
    case Verb::kill:
      if (!runs && verb == Verb::stop) return {};
      if (!runs) return conflict(fmt::format("'{}' does not run", name));
      end(verb == Verb::stop ? 0 : 137);
      return {};
    case Verb::pause:
    case Verb::resume:
      if (fake->state != (verb == Verb::pause ? "running" : "paused")) return conflict(fmt::format("'{}' is {}", name, fake->state));
      fake->state = verb == Verb::pause ? "paused" : "running";
      tell(verb == Verb::pause ? "paused" : "resumed", name, *fake);
      return {};
    case Verb::rename: {
      const std::string to = action["name"];
      if (fakes_.contains(to)) return std::unexpected(Error{"the name is taken", {}, {}, EEXIST});
      Fake moved = std::move(*fake);
      fakes_.erase(name);
      moved.definition["name"] = to;
      tell("renamed", to, moved);
      fakes_[to] = std::move(moved);
      return {};
    }
  }
  return {};
}

Result<Json> FakeBackend::stats(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  if (fake->state != "running" && fake->state != "paused") return std::unexpected(Error{fmt::format("'{}' does not run", name), {}, {}, ENOTCONN});
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - fake->since).count();
  return Json{{"time", now_text()}, {"cpuNs", ns / 4}, {"memory", 100 * MiB + static_cast<u64>(ns / 1000000) % MiB}, {"memoryLimit", 512 * MiB}, {"pids", 3},
              {"readBytes", ns / 1000}, {"writeBytes", ns / 2000}, {"rxBytes", ns / 3000}, {"txBytes", ns / 4000}, {"oomKills", 0}};
}

Result<std::optional<int>> FakeBackend::ended(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  if (fake->state == "running" || fake->state == "paused") return std::optional<int>();
  return fake->exit_code;
}

Result<> FakeBackend::running(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(Fake* const fake, find(name));
  if (fake->state != "running") return conflict(fmt::format("'{}' does not run", name));
  return {};
}

Result<Json> FakeBackend::processes(const std::string& name) {
  TRY(running(name));
  return Json::array({{{"pid", 1}, {"ppid", 0}, {"user", "root"}, {"cpuNs", 1000000}, {"memory", 4 * MiB}, {"command", "/sbin/init"}},
                      {{"pid", 42}, {"ppid", 1}, {"user", "www-data"}, {"cpuNs", 5000000}, {"memory", 9 * MiB}, {"command", "server --port 80"}}});
}

Result<ByteStream> FakeBackend::logs(const std::string& name, const LogOptions& options) {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    TRY_ASSIGN(Fake* const fake, find(name));
    text = fake->log;
  }
  if (options.tail) {
    std::size_t at = text.size();
    for (u64 n = 0; at > 0; at--) {
      if (text[at - 1] == '\n' && at != text.size() && ++n >= *options.tail) break;
    }
    text = *options.tail == 0 ? "" : text.substr(at);
  }
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  std::jthread([text, follow = options.follow, out = std::move(pipe.second)] {
    if (!host::write_all(out.get(), text)) return;
    pollfd reader{out.get(), 0, 0};
    for (int i = 0; follow && i < 1000; i++) {
      if (::poll(&reader, 1, 100) > 0) return;  // nobody reads any more
      if (!host::write_all(out.get(), fmt::format("line {}\n", i))) return;
    }
  }).detach();
  return ByteStream{.bytes = std::move(pipe.first)};
}

Result<Terminal> FakeBackend::console(const std::string& name) {
  TRY(running(name));
  return fake_terminal(name, true);
}

Result<Terminal> FakeBackend::exec(const std::string& name, const Json& exec) {
  TRY(running(name));
  if (exec["command"][0] == "missing") return std::unexpected(Error{"cannot run 'missing'", "No such file or directory", {}, ENOENT});
  return fake_terminal(name, exec.value("terminal", true));
}

Result<Json> FakeBackend::run(const std::string& name, const Json& exec, std::stop_token stop) {
  TRY(running(name));
  if (exec["command"][0] == "sleep") {
    for (int i = 0; i < exec.value("timeout", 60) * 20; i++) {
      if (stop.stop_requested()) return std::unexpected(Error{"cancelled", {}, {}, ECANCELED});
      std::this_thread::sleep_for(50ms);
    }
    return std::unexpected(Error{"the program took too long", {}, {}, ETIMEDOUT});
  }
  std::string out;
  for (const Json& word : exec["command"]) out += (out.empty() ? "" : " ") + word.get<std::string>();
  return Json{{"exitCode", 0}, {"stdout", out + "\n" + exec.value("input", "")}, {"stderr", ""}, {"truncated", false}};
}

Result<ByteStream> FakeBackend::get_files(const std::string& name, const std::string& path) {
  TRY(running(name));
  if (path == "/missing") return missing("file", path);
  std::string tar(1024, '\0');
  {
    const std::lock_guard lock(mutex_);
    if (files_.contains(name)) tar = files_[name];
  }
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  std::jthread([tar, out = std::move(pipe.second)] { (void)host::write_all(out.get(), tar); }).detach();
  return ByteStream{.bytes = std::move(pipe.first)};
}

Result<> FakeBackend::put_files(const std::string& name, const std::string& path, int tar) {
  TRY(running(name));
  if (path == "/missing") return missing("folder", path);
  TRY_ASSIGN(const auto bytes, host::read_all(tar, 64 * MiB, "the tar stream"));
  const std::lock_guard lock(mutex_);
  files_[name] = std::string(bytes.begin(), bytes.end());
  return {};
}

Result<Json> FakeBackend::images() {
  const std::lock_guard lock(mutex_);
  return values_of(images_);
}

Result<> FakeBackend::pull(const std::string& reference, Task& task) {
  for (int i = 0; i < 10; i++) {
    if (task.stop().stop_requested()) return std::unexpected(Error{"cancelled", {}, {}, ECANCELED});
    task.progress(i / 10.0, "fetching layers");
    std::this_thread::sleep_for(reference.starts_with("slow") ? 500ms : 5ms);
  }
  if (reference.starts_with("none")) return missing("image", reference);
  const std::lock_guard lock(mutex_);
  const std::string name = reference.find(':') == std::string::npos ? reference + ":latest" : reference;
  images_[name] = {{"id", std::string(64, 'b')}, {"name", name}, {"kind", "oci"}, {"size", 1000}, {"created", now_text()}};
  return {};
}

Result<> FakeBackend::remove_image(const std::string& reference) {
  const std::lock_guard lock(mutex_);
  const std::string name = images_.contains(reference) ? reference : reference + ":latest";
  for (const auto& [domain, fake] : fakes_) {
    if (fake.definition["image"] == name) return conflict(fmt::format("'{}' is based on it", domain));
  }
  if (images_.erase(name) == 0) return missing("image", reference);
  return {};
}

Result<Json> FakeBackend::networks() {
  const std::lock_guard lock(mutex_);
  return values_of(networks_);
}

Result<Json> FakeBackend::create_network(const Json& network) {
  const std::lock_guard lock(mutex_);
  const std::string name = network["name"];
  if (networks_.contains(name)) return std::unexpected(Error{"there is one already", {}, {}, EEXIST});
  Json made = network;
  if (!made.contains("kind")) made["kind"] = "user";
  return networks_[name] = made;
}

Result<> FakeBackend::remove_network(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (name == "default") return conflict("the default network stays");
  if (networks_.erase(name) == 0) return missing("network", name);
  return {};
}

Result<Json> FakeBackend::volumes() {
  const std::lock_guard lock(mutex_);
  return values_of(volumes_);
}

Result<Json> FakeBackend::create_volume(const Json& volume) {
  const std::lock_guard lock(mutex_);
  const std::string name = volume["name"];
  if (volumes_.contains(name)) return std::unexpected(Error{"there is one already", {}, {}, EEXIST});
  Json made = volume;
  made["created"] = now_text();
  return volumes_[name] = made;
}

Result<> FakeBackend::remove_volume(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (volumes_.erase(name) == 0) return missing("volume", name);
  return {};
}

Result<Json> FakeBackend::put(const Json& document, bool dry_run) {
  const std::lock_guard lock(mutex_);
  auto& all = document["kind"] == "network" ? networks_ : volumes_;
  const std::string name = document["name"];
  const bool exists = all.contains(name);
  Json wanted = document;
  if (document["kind"] == "network") {
    wanted["kind"] = document.value("driver", "user");
    wanted.erase("driver");
  } else {
    wanted.erase("kind");
  }
  Json changes = Json::array();
  for (const auto& [field, value] : wanted.items()) {
    if (exists && all[name].value(field, Json()) != value) changes.push_back({{"field", field}, {"to", value}, {"needs", "nothing"}});
  }
  if (!dry_run) {
    for (const auto& [field, value] : wanted.items()) all[name][field] = value;
  }
  return Json{{"action", !exists ? "create" : changes.empty() ? "none" : "change"}, {"changes", changes}};
}

}  // namespace nagaya::api::test
