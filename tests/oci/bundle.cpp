#include "oci/bundle.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace nagaya::oci_test {
namespace fs = std::filesystem;
namespace {

constexpr int limit_seconds = 60;

const char* const programs[] = {"sh",     "cat",   "echo",    "ls",   "true", "false", "sleep",    "id",   "mount",
                                "umount", "mkdir", "touch",   "test", "stat", "env",   "hostname", "ps",   "kill",
                                "tty",    "stty",  "grep",    "cut",  "wc",   "head",  "tr",       "sort", "pwd",
                                "mknod",  "chown", "ln",      "rm",   "dd",   "ip",    "readlink", "nice", "printf",
                                "chmod",  "find",  "unshare", "awk",  "seq"};

std::string unique_name() {
  static int count = 0;
  return "oci-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

void drain(int fd, std::string& out) {
  char buffer[16384];
  for (ssize_t count = 0; (count = ::read(fd, buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(count));
}

}  // namespace

std::string runtime() {
  const char* path = std::getenv("NAGAYA_OCI");
  return path != nullptr ? path : "nagaya-oci";
}

std::string missing() {
  if (::geteuid() != 0) return "containers are made by root here";
  if (::access("/bin/busybox", X_OK) != 0) return "busybox-static is not installed";
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) == 0 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? "" : "this host does not let us make namespaces";
}

Outcome run_program(const Words& words, const std::string& input) {
  // Files and not pipes for its output: a container that stays may keep them open for ever.
  const auto scratch = [] {
    const int fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd;
  };
  const int in = scratch(), out = scratch(), err = scratch();
  if (::write(in, input.data(), input.size()) < 0 || ::lseek(in, 0, SEEK_SET) != 0) return {};
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(err, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  Outcome outcome;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(limit_seconds);
  int status = 0;
  pid_t done = 0;
  while ((done = ::waitpid(child, &status, WNOHANG)) == 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (done == 0) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  } else {
    outcome.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  ::lseek(out, 0, SEEK_SET);
  ::lseek(err, 0, SEEK_SET);
  drain(out, outcome.out);
  drain(err, outcome.err);
  for (const int fd : {in, out, err}) ::close(fd);
  return outcome;
}

Bundle::Bundle() {
  std::string name = fs::temp_directory_path().string() + "/nagaya-oci.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  folder_ = fs::canonical(name).string();
  ::chmod(folder_.c_str(), 0755);
  path = folder_ + "/bundle";
  rootfs = path + "/rootfs";
  root = folder_ + "/state";
  for (const char* folder : {"bin", "proc", "sys", "dev", "tmp", "etc", "root"})
    fs::create_directories(rootfs + "/" + folder);
  ::chmod((rootfs + "/tmp").c_str(), 01777);
  fs::copy_file("/bin/busybox", rootfs + "/bin/busybox");
  for (const char* program : programs) fs::create_symlink("busybox", rootfs + "/bin/" + program);
  write("rootfs/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
  run_program({runtime(), "spec", "-b", path});
  config = Json::parse(read("config.json"));
  config["process"]["terminal"] = false;
  config["process"]["env"] = {"PATH=/bin"};
  config["linux"]["cgroupsPath"] = "/" + unique_name();
}

Bundle::~Bundle() {
  std::error_code code;
  if (fs::exists(root)) {
    std::vector<std::string> ids;
    for (const auto& entry : fs::directory_iterator(root, code)) ids.push_back(entry.path().filename());
    for (const std::string& id : ids) oci({"delete", "-f", id});
  }
  fs::remove_all(folder_, code);
}

Outcome Bundle::oci(const Words& words, const std::string& input) {
  Words all{runtime(), "--root", root};
  all.insert(all.end(), words.begin(), words.end());
  return run_program(all, input);
}

Outcome Bundle::run(const std::string& text) {
  script(text);
  write_config();
  return oci({"run", "-b", path, "c"});
}

void Bundle::write_config() const { write("config.json", config.dump(1)); }

Json Bundle::state(const std::string& id) {
  const Outcome outcome = oci({"state", id});
  return outcome.code == 0 ? Json::parse(outcome.out) : Json();
}

bool Bundle::wait_status(const std::string& id, const std::string& status) {
  for (int i = 0; i < 500; ++i) {
    if (const Json now = state(id); now.is_object() && now["status"] == status) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

void Bundle::without_namespace(const std::string& type) {
  auto& all = config["linux"]["namespaces"];
  for (auto it = all.begin(); it != all.end();) it = (*it)["type"] == type ? all.erase(it) : it + 1;
}

void Bundle::add_namespace(const std::string& type, const std::string& path_to_it) {
  without_namespace(type);
  Json item{{"type", type}};
  if (!path_to_it.empty()) item["path"] = path_to_it;
  config["linux"]["namespaces"].push_back(item);
}

void Bundle::without_mounts(const std::string& type) {
  auto& mounts = config["mounts"];
  for (auto it = mounts.begin(); it != mounts.end();) it = (*it)["type"] == type ? mounts.erase(it) : it + 1;
}

void Bundle::with_user_namespace() {
  add_namespace("user");
  const Json maps = {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}};
  config["linux"]["uidMappings"] = maps;
  config["linux"]["gidMappings"] = maps;
  run_program({"chown", "-R", "100000:100000", rootfs});
}

void Bundle::write(const std::string& name, const std::string& content) const {
  std::ofstream(path + "/" + name, std::ios::trunc) << content;
}

std::string Bundle::read(const std::string& name) const {
  std::stringstream text;
  text << std::ifstream(path + "/" + name).rdbuf();
  return text.str();
}

std::vector<std::string> Bundle::cgroups() const {
  std::vector<std::string> out;
  const std::string name = config["linux"]["cgroupsPath"].get<std::string>().substr(1);
  std::error_code code;
  for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup", code)) {
    if (!entry.is_directory()) continue;
    if (fs::exists(entry.path() / name)) out.push_back(entry.path() / name);
    if (entry.path().filename() == name) out.push_back(entry.path());
  }
  return out;
}

}  // namespace nagaya::oci_test
