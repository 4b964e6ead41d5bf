#include "api/http/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "api/http/listen.hpp"
#include "api/http/server.hpp"
#include "base/log.hpp"
#include "host/dirs.hpp"
#include "host/signal.hpp"

namespace nagaya::api {
namespace {

constexpr int exit_failure = 125;

struct Options {
  std::string socket, group, web, state;
  std::vector<std::string> listen, allow_hosts, allow_origins;
  TlsFiles tls;
  bool open_metrics = false, verbose = false;
};

Result<int> group_id(const std::string& name) {
  if (name.empty()) return -1;
  const group* found = ::getgrnam(name.c_str());
  if (found == nullptr) return fail(fmt::format("--group {}", name), "there is no such group");
  return static_cast<int>(found->gr_gid);
}

// One server for one state: two would each take the other's operations for interrupted ones.
Result<host::Fd> lock_state(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(fmt::format("cannot make '{}'", folder), error.message());
  ::chmod(folder.c_str(), 0700);
  TRY_ASSIGN(host::Fd lock, host::Fd::open(folder + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return fail("nagaya serve", "another server runs with this state", fmt::format("it is in '{}'", folder));
  return lock;
}

Result<Listening> open_sockets(const Options& options, int group) {
  TRY_ASSIGN(Listening out, inherited_sockets());
  out.inherited = !out.unix_sockets.empty() || !out.tcp_sockets.empty();
  if (!out.inherited || !options.socket.empty()) {
    const std::string path = options.socket.empty() ? host::runtime_dir() + "/api.sock" : options.socket;
    TRY_ASSIGN(host::Fd socket, listen_local(path, group));
    out.unix_sockets.push_back(std::move(socket));
  }
  for (const std::string& where : options.listen) {
    TRY_ASSIGN(host::Fd socket, listen_tcp(where));
    out.tcp_sockets.push_back(std::move(socket));
  }
  return out;
}

Result<GateOptions> gate_of(const Options& options, bool tcp) {
  GateOptions out;
  const auto lower = [](std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  };
  for (const std::string& host : options.allow_hosts) out.hosts.insert(lower(host));
  if (tcp) {
    TRY_ASSIGN(const auto names, certificate_names(options.tls.certificate));
    out.hosts.insert(names.begin(), names.end());
  }
  out.origins.insert(options.allow_origins.begin(), options.allow_origins.end());
  return out;
}

// What "0.0.0.0:8443" is called on this host: one cannot go to "every address".
std::string reachable(const std::string& where) {
  if (where.starts_with("0.0.0.0:")) return "localhost:" + where.substr(8);
  if (where.starts_with("[::]:")) return "localhost:" + where.substr(5);
  return where;
}

/// Where it listens, and how one gets in: the first thing one needs to know.
void say_where(const Options& options) {
  const std::string usual = host::runtime_dir() + "/api.sock", socket = options.socket.empty() ? usual : options.socket;
  const std::string here = socket == usual ? "nagaya token" : fmt::format("nagaya --host unix://{} token", socket);
  fmt::print(stderr, "nagaya: listening on unix://{}{}\n", socket, options.group.empty() ? "" : fmt::format(", for members of {} too", options.group));
  for (const std::string& where : options.listen) {
    fmt::print(stderr, "nagaya: listening on https://{}/{}\n", reachable(where), options.web.empty() ? "" : " (the web console)");
  }
  if (options.listen.empty()) {
    fmt::print(stderr, "nagaya: browsers and other hosts come in by TLS: nagaya serve --listen 127.0.0.1:8443\n");
  } else {
    fmt::print(stderr, "nagaya: to log in, make a token: {} create NAME --role operator\n", here);
  }
  fmt::print(stderr, "nagaya: Ctrl-C ends the server; machines and containers go on\n");
}

Result<> serve(Options options, const MakeBackend& make_backend) {
  host::ignore_sigpipe();
  ::umask(077);
  // A core file or a debugger of the same user would show tokens and keys.
  ::prctl(PR_SET_DUMPABLE, 0);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  const std::string folder = (options.state.empty() ? host::state_dir() : options.state) + "/server";
  TRY_ASSIGN(const host::Fd lock, lock_state(folder));
  TRY_ASSIGN(const int group, group_id(options.group));
  TRY_ASSIGN(Listening sockets, open_sockets(options, group));
  const bool tcp = !sockets.tcp_sockets.empty(), activated = sockets.inherited;
  if (options.tls.certificate.empty() != options.tls.key.empty()) return fail("nagaya serve", "a certificate and its key go together", "give --tls-cert and --tls-key");
  if (tcp && options.tls.certificate.empty()) {
    TRY_ASSIGN(const OwnCertificate own, own_certificate(folder));
    options.tls.certificate = own.certificate;
    options.tls.key = own.key;
    fmt::print(stderr, "nagaya: a certificate of its own: {}\nnagaya: SHA-256 {}\n", own.certificate, own.fingerprint);
  }
  StaticFiles files_of_console;
  if (!options.web.empty()) {
    TRY_ASSIGN(files_of_console, StaticFiles::load(options.web));
  }
  TRY_ASSIGN(auto document, Document::parse(document_text()));
  TRY_ASSIGN(const auto backend, make_backend());
  TRY_ASSIGN(const auto database, Database::open(folder + "/server.db"));
  TRY_ASSIGN(const auto tokens, Tokens::open(*database));
  TRY_ASSIGN(const auto events, Events::open(*database));
  TRY_ASSIGN(const auto operations, Operations::open(*database, *events));
  Metrics metrics;
  TRY_ASSIGN(GateOptions gate, gate_of(options, tcp));
  TRY_ASSIGN(const auto service, Service::create({document, *backend, *tokens, *events, *operations, metrics},
                                                 {.gate = std::move(gate), .open_metrics = options.open_metrics}, std::move(files_of_console)));
  TRY_ASSIGN(const auto server, Server::create({.unix_sockets = std::move(sockets.unix_sockets),
                                                .tcp_sockets = std::move(sockets.tcp_sockets),
                                                .operators_group = group,
                                                .tls = options.tls},
                                               *service));
  backend->watch([&events](Json event) { events->add(std::move(event)); });
  server->run([&] {
    notify_manager("READY=1");
    // Of a service manager's sockets it knows itself.
    if (!activated) say_where(options);
  });
  notify_manager("STOPPING=1");
  backend->unwatch();
  operations->shut_down(std::chrono::seconds(10));
  // What does not let itself be stopped is found interrupted at the next start; its threads must not be waited for.
  if (operations->running() != 0) ::_exit(0);
  return {};
}

}  // namespace

int run_server_program(int argc, char** argv, const MakeBackend& make_backend) {
  Options options;
  CLI::App app{"The REST API and the web console, in the foreground", "nagaya serve"};
  app.add_option("--socket", options.socket, "Unix socket to listen on (default: api.sock in the runtime folder)");
  app.add_option("--group", options.group, "members of this group may use the Unix socket, as operators");
  app.add_option("--listen", options.listen, "ADDRESS:PORT to speak TLS on; repeats");
  app.add_option("--tls-cert", options.tls.certificate, "PEM file with the server's certificate chain (default: one of its own making)");
  app.add_option("--tls-key", options.tls.key, "PEM file with its key");
  app.add_option("--tls-client-ca", options.tls.client_ca, "PEM file with the authorities of client certificates");
  app.add_option("--allow-host", options.allow_hosts, "a name under which the server is reached, beside those of its certificate; repeats");
  app.add_option("--allow-origin", options.allow_origins, "origin of another site whose pages may call; repeats");
  app.add_option("--web", options.web, "folder of the built web console");
  app.add_option("--state", options.state, "folder for tokens, operations, events (default: the state folder)");
  app.add_flag("--open-metrics", options.open_metrics, "/metrics for everyone who can connect");
  app.add_flag("--verbose", options.verbose, "a line for each request on standard error");
  CLI11_PARSE(app, argc, argv);
  if (options.verbose) log::set_level(log::Level::info);
  if (auto done = serve(std::move(options), make_backend); !done) {
    fmt::print(stderr, "nagaya: {}\n", done.error().message());
    return exit_failure;
  }
  return 0;
}

}  // namespace nagaya::api
