"""Property tests run under any load, and leave nothing behind."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline, and slow generation is let pass.
settings.register_profile(
    "jackfield", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("jackfield")
