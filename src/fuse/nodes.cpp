#include "fuse/nodes.hpp"

#include "fuse/protocol.hpp"

namespace nagaya::fuse {

void NodeTable::begin(NodePtr root) {
  std::map<u64, Entry> old;  // descriptors are closed outside the lock
  std::lock_guard lock(mutex_);
  old.swap(by_id_);
  by_inode_.clear();
  next_ = FUSE_ROOT_ID + 1;
  by_inode_[{root->device, root->inode}] = FUSE_ROOT_ID;
  by_id_[FUSE_ROOT_ID] = {std::move(root), 1};
}

NodePtr NodeTable::find(u64 id) const {
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.node;
}

NodePtr NodeTable::enter(host::Fd fd, const struct stat& attributes, Budget& budget) {
  // While a descriptor holds an inode, the file system gives its number to no other.
  const Key key(attributes.st_dev, attributes.st_ino);
  {
    std::lock_guard lock(mutex_);
    if (const auto known = by_inode_.find(key); known != by_inode_.end()) {
      Entry& entry = by_id_[known->second];
      ++entry.lookups;
      return entry.node;
    }
  }
  auto place = budget.take();
  if (!place) return nullptr;
  auto node = std::make_shared<Node>();
  node->device = attributes.st_dev;
  node->inode = attributes.st_ino;
  node->type = attributes.st_mode & S_IFMT;
  node->fd = std::move(fd);
  node->place = std::move(place);
  std::lock_guard lock(mutex_);
  if (const auto known = by_inode_.find(key); known != by_inode_.end()) {  // another thread was quicker
    Entry& entry = by_id_[known->second];
    ++entry.lookups;
    return entry.node;
  }
  node->id = next_++;
  by_inode_[key] = node->id;
  by_id_[node->id] = {node, 1};
  return node;
}

void NodeTable::forget(u64 id, u64 count) {
  NodePtr last;  // closed outside the lock
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (id == FUSE_ROOT_ID || found == by_id_.end()) return;
  Entry& entry = found->second;
  if (count < entry.lookups) {
    entry.lookups -= count;
    return;
  }
  last = std::move(entry.node);
  const auto key = by_inode_.find({last->device, last->inode});
  if (key != by_inode_.end() && key->second == id) by_inode_.erase(key);
  by_id_.erase(found);
}

std::size_t NodeTable::size() const {
  std::lock_guard lock(mutex_);
  return by_id_.size();
}

std::vector<NodeTable::Entry> NodeTable::all() const {
  std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  for (const auto& [id, entry] : by_id_) {
    if (id != FUSE_ROOT_ID) out.push_back(entry);
  }
  return out;
}

u64 NodeTable::next() const {
  std::lock_guard lock(mutex_);
  return next_;
}

bool NodeTable::put(NodePtr node, u64 lookups) {
  std::lock_guard lock(mutex_);
  const u64 id = node->id;
  if (id <= FUSE_ROOT_ID || id >= next_ || lookups == 0 || by_id_.contains(id)) return false;
  // Two saved nodes that are one inode now: both numbers work, new look-ups find the first.
  if (node->fd) by_inode_.try_emplace({node->device, node->inode}, id);
  by_id_[id] = {std::move(node), lookups};
  return true;
}

void NodeTable::set_next(u64 next) {
  std::lock_guard lock(mutex_);
  next_ = next;
}

}  // namespace nagaya::fuse
