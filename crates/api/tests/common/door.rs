//! A door behind which a real core stands, without engine or journal: a command is carried out when it enters, everything is durable at
//! once, and each step takes 10 ms.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use gateway::{Door, Gateway, Lane, Policy};
use scheduler::{Effect, Input, Now, Scheduler, Settings};

pub struct CoreDoor {
    core: Mutex<(Scheduler, u64)>,
    gateway: OnceLock<Weak<Gateway>>,
}

impl CoreDoor {
    /// A core that has started, and the gateway before it.
    pub fn open() -> (Arc<Self>, Arc<Gateway>) {
        let core = Mutex::new((Scheduler::new(Settings::default()), 0));
        let door = Arc::new(Self { core, gateway: OnceLock::new() });
        let gateway = Arc::new(Gateway::new(Box::new(SharedDoor(door.clone())), Policy::default()));
        door.gateway.set(Arc::downgrade(&gateway)).expect("set once");
        door.step(Input::Start { seed: [7; 32], epoch: 1 });
        (door, gateway)
    }

    pub fn step(&self, input: Input) {
        let mut guard = self.core.lock().expect("no panic");
        let (core, ms) = &mut *guard;
        *ms += 10;
        let output = core.step(Now { wall_ms: 1_800_000_000_000 + *ms as i64, monotonic_ms: *ms }, input);
        let gateway = self.gateway.get().and_then(Weak::upgrade).expect("the gateway lives");
        gateway.publish(Arc::new(core.freeze()));
        for effect in output.effects {
            if let Effect::Reply { request, reply } = effect {
                gateway.deliver(request, reply);
            }
        }
    }
}

struct SharedDoor(Arc<CoreDoor>);

impl Door for SharedDoor {
    fn enter(&self, _: Lane, input: Input) -> bool {
        self.0.step(input);
        true
    }
}
