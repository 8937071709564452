//! What is found and announced in ZooKeeper.
