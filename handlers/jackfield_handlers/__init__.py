"""The message types that every Jackfield server has, loaded by the same door as anyone's."""
