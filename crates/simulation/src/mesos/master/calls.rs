//! Calls of subscribed schedulers: who may call (spec mesos 1.4 #13 to #20) and which rule each call meets.

use std::sync::Arc;

use mesos::v1::scheduler::{Call, call};

use super::{Master, Refusal};

impl Master {
    /// A call other than SUBSCRIBE, whose form is checked. The status of its answer.
    pub fn call(&mut self, call: Call, stream_id: Option<&str>, principal: Option<&str>) -> Result<u16, Refusal> {
        let kind = call.r#type.map_or(Ok(call::Type::Unknown), call::Type::try_from).unwrap_or(call::Type::Unknown);
        let id = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        let Some((id, framework)) = self.frameworks.get_key_value(id) else {
            return Err(Refusal::new(400, "Framework cannot be found"));
        };
        if principal.is_some() && framework.info.principal.as_deref() != principal {
            return Err(Refusal::new(400, "Authenticated principal does not match the framework's principal"));
        }
        let Some(current) = framework.stream_uuid() else {
            return Err(Refusal::new(403, "Framework is not subscribed"));
        };
        match stream_id {
            None => {
                return Err(Refusal::new(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"));
            }
            Some(given) if given != current => {
                let text = format!(
                    "The stream ID '{given}' included in this request didn't match the stream ID of the framework"
                );
                return Err(Refusal::new(400, text));
            }
            Some(_) => {}
        }
        let id = Arc::clone(id);
        self.dispatch(&id, kind, call)
    }

    fn dispatch(&mut self, id: &Arc<str>, kind: call::Type, call: Call) -> Result<u16, Refusal> {
        use call::Type;
        self.counters.calls += 1;
        match kind {
            Type::Teardown => self.remove_framework(id),
            Type::Accept => self.accept(id, call.accept.unwrap_or_default()),
            Type::Decline => self.decline(id, &call.decline.unwrap_or_default()),
            Type::Revive => self.revive(id, &call.revive.unwrap_or_default().roles),
            Type::Suppress => self.suppress(id, &call.suppress.unwrap_or_default().roles),
            Type::Kill => self.kill(id, &call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown_executor(id, &call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(id, &call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.reconcile(id, &call.reconcile.unwrap_or_default()),
            Type::Message => self.message_to_executor(id, call.message.unwrap_or_default()),
            // The built-in allocator ignores wishes, and no operation here has a status to be acknowledged.
            Type::Request | Type::AcknowledgeOperationStatus => {}
            Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, &accept.inverse_offer_ids, accept.filters.as_ref());
            }
            Type::DeclineInverseOffers => {
                let decline = call.decline_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, &decline.inverse_offer_ids, decline.filters.as_ref());
            }
            Type::ReconcileOperations => self.reconcile_operations(id, call.reconcile_operations.unwrap_or_default()),
            Type::UpdateFramework => {
                self.update_framework(id, call.update_framework.unwrap_or_default())?;
                return Ok(200);
            }
            Type::Unknown | Type::Subscribe => return Err(Refusal::new(501, "Unknown call type")),
        }
        Ok(202)
    }

    /// The listed roles, or all; `None` if one of them is not the framework's: then nothing happens.
    fn roles(&self, id: &Arc<str>, listed: &[String]) -> Option<Vec<Arc<str>>> {
        let roles = &self.frameworks.get(id)?.roles;
        if listed.is_empty() {
            return Some(roles.keys().cloned().collect());
        }
        listed.iter().map(|role| roles.get_key_value(role.as_str()).map(|(role, _)| Arc::clone(role))).collect()
    }

    fn suppress(&mut self, id: &Arc<str>, listed: &[String]) {
        self.counters.suppresses += 1;
        let Some(roles) = self.roles(id, listed) else { return };
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        for role in roles {
            if let Some(state) = framework.roles.get_mut(&role) {
                state.suppressed = true;
            }
        }
    }

    fn revive(&mut self, id: &Arc<str>, listed: &[String]) {
        self.counters.revives += 1;
        let Some(roles) = self.roles(id, listed) else { return };
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.filters.retain(|(role, _), _| !roles.contains(role));
        framework.inverse_filters.clear();
        for role in roles {
            if let Some(state) = framework.roles.get_mut(&role) {
                state.suppressed = false;
            }
        }
        self.pending.all = true;
    }
}
